"""Running a model on calibration batches: the inputs and outputs of its layers."""
