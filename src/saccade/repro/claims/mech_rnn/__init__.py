"""Claims about recurrent mechanisms."""
