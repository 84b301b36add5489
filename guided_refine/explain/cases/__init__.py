"""Case studies: one user's list with all that explains it, as data, as files of four formats, and many at once."""
