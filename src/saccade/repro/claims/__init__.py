"""One claim a file, `<name>_<number of the paper>.py`, in the folder of its family."""
