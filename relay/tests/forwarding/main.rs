//! Forwarding, claim by claim, from outside.

mod calls;
mod dead_letters;
mod drain;
mod order;
mod passed_over;
mod shell;
