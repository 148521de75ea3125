//! Simulated fleets: devices that run the real device core, and foreign publishers, from one seed.
