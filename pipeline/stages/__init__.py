"""One module per kind of job: `make(worker, job, folder, scratch)` writes the artifact."""
