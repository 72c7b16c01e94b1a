"""One case a file: ``VARIANTS`` builds what is timed, ``run`` says what is compared with what."""
