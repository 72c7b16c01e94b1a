"""Claims: steering language models at inference."""
