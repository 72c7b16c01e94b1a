"""Claims: statements about attention."""
