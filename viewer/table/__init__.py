"""The page Table: models as rows or as lines, with parameters and figures as columns."""
