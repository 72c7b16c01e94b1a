"""Claims: heads."""
