"""Facts about the machine: accelerators, CPU quota, library releases, and the lock that timing takes."""
