//! The device as a library: sampler, flash ring, links. No std; runs and is tested on the host.
