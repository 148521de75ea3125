//! Sensor chips as channels.
#![no_std]
