//! Devices, links and agents of the simulated world.
