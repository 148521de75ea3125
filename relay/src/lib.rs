//! Store-and-forward without IO or clock: windows, lanes, backoff. Offsets and sizes only.
