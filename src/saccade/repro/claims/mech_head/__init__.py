"""Claims: heads and their sharing."""
