//! The engine through its HTTP face: real sockets, a real journal in a temporary directory.

mod boto3;
mod connections;
mod records;
mod refusals;
mod restart;
mod support;
