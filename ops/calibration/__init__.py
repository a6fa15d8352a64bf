"""ops/calibration."""
