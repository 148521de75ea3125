//! The locks of the commit queue, in one place so that a model checker can put its own in.

pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
