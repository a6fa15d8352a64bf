"""The preprocessing that a pretrained model was made for, read from the files beside it."""
