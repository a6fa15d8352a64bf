"""Results beyond one machine: an object store behind the folder of artifacts."""
