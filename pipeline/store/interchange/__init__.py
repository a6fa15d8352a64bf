"""Results in the formats of other programs: one file per format, each with a way in and a way out."""
