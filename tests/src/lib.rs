//! The simulated world, real processes, real clients, house rules and benches.
