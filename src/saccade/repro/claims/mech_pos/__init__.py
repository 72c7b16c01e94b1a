"""Claims about position schemes."""
