"""The same questions asked with other tools, each in its own environment where it needs one."""
