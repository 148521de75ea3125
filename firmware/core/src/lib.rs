//! A device as a library: everything from a sensor's value to an acknowledged batch, without a line about a chip.
//!
//! In: flash ([`NorFlash`](embedded_storage_async::nor_flash::NorFlash)), a byte stream
//! ([`embedded_io_async`]), a [`Clock`] and a [`Sampler`]. Out: frames of `headwater-telemetry`.
//! Invariants: no allocation, no `std`, no `unsafe`; a reading that was stored is delivered or told as part of a gap;
//! inside a boot the line of [`Seq`]s has no holes; a power cut takes only the open batch.
//! Not here: drivers, networks, an executor.
//!
//! # How it runs
//! A board opens a [`Device`] and runs two futures side by side, for ever:
//!
//! ```
//! use embedded_io_async::{Read, Write};
//! use embedded_storage_async::nor_flash::NorFlash;
//! use headwater_device::*;
//! use headwater_telemetry::{DeviceId, Uptime};
//!
//! async fn board<F: NorFlash>(
//!     flash: F,
//!     clock: impl Clock,
//!     mut sampler: impl Sampler,
//!     (mut rx, mut tx): (impl Read, impl Write),
//! ) -> Result<(), OpenError<F::Error>> {
//!     let page = F::ERASE_SIZE as u32;
//!     let layout = Layout::without_vault(0..2 * page, 2 * page..16 * page);
//!     let settings = Settings::new(DeviceId::parse("shed-1").unwrap(), "shed 0.1.0");
//!     let device = Device::open(flash, layout, settings, &sampler, ()).await?;
//!     let link = async {
//!         loop {
//!             device.serve(&clock, &mut rx, &mut tx).await;
//!             clock.sleep_until(Uptime(clock.now().0 + 1_000)).await;
//!         }
//!     };
//!     embassy_futures::select::select(device.run(&clock, &mut sampler), link).await;
//!     Ok(()) // the board restarts
//! }
//! ```
//!
//! The pure parts ([`link::Link`], [`batcher::Batcher`], [`schedule::Schedule`], [`time::TimeKeeper`]) are told
//! things and asked things with the uptime as a parameter; `Device` is the shell around them. Features for hosts:
//! `testing` adds a flash model with power cuts, `image` makes what a board's flash is to hold before its first start. A
//! board with TLS has `vault`, which stores credentials; without it they are refused.
//!
//! # What a device meets in the field
//! | what | what becomes of it |
//! |---|---|
//! | power goes at any byte of a write or an erase | the open batch is lost, at most [`Settings::batch_age_ms`] of readings; all else is as before or after |
//! | nobody listens for weeks | the oldest page makes room; what was on it is told as a [`Gap`](headwater_telemetry::Gap), counted |
//! | a bit on a page decays | what the page held from there on is told as a gap, the next time it is read |
//! | a word or a write is refused | the next page takes the batch; readings that find no room meanwhile are told as a gap |
//! | a page of the ring is worn | it is passed over in every round; two in a row end the ring: no new batches, old ones are sent |
//! | a page of the settings is worn | the next one is taken; with none left, starts are counted from the ring, settings stay as they are, commands fail |
//! | credentials decay | they are an error until others come: the device does not go on in the open |
//! | a region holds something else | it is formatted, and a log line says so |
//! | a configuration for another kind of board | it is refused; where it is there already, its name and periods hold and a log line says so |
//! | other channels after an update | periods that were ordered for the old ones do not hold, and a log line says so |
//! | no time for days | batches wait undated; what the boot learns later dates them, by its own clock |
//! | a sensor fails | its channel is left out; the rest goes on |
//! | a sensor or flash does not come back | [`Observer::alive`] stays away, so the watchdog starts the board anew |
//! | an order comes again | it is answered with its first outcome, over restarts as well |
#![cfg_attr(not(any(test, feature = "testing", feature = "image")), no_std)]

mod apart;
mod area;
pub mod batcher;
mod device;
#[cfg(feature = "image")]
pub mod image;
mod item;
pub mod limits;
mod line;
pub mod link;
#[cfg(feature = "mqtt")]
pub mod mqtt;
mod orders;
mod outbox;
pub mod partition;
mod provision;
mod record;
mod ring;
pub mod schedule;
mod serial;
mod spool;
mod stream;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;
#[cfg_attr(not(feature = "vault"), path = "vault/none.rs")]
mod vault;

pub use apart::Apart;
pub use device::{Device, Opening, Reach, Settings, Stopped};
pub use item::{Cursor, FlashError, Item, Lost};
pub use line::Line;
pub use link::LinkDown;
pub use outbox::{Outbox, WithoutData};
pub use provision::Provision;
pub use serial::serve;
pub use spool::{Found, Layout, OpenError, Spool};

use headwater_telemetry::limits::{CHANNELS_MAX, LOG_BYTES_MAX};
use headwater_telemetry::{Batch, BootId, Channel, ChannelId, LogLevel, Seq, Uptime, Value};

/// Monotonic time of this device.
#[expect(async_fn_in_trait, reason = "devices run on one thread")]
pub trait Clock {
    /// Milliseconds since the start.
    fn now(&self) -> Uptime;
    /// Waits until `at`; at once when it has passed; for ever at `u64::MAX`. May be cancelled.
    async fn sleep_until(&self, at: Uptime);
}

/// The sensors of a device, as a table of channels.
#[expect(async_fn_in_trait, reason = "devices run on one thread")]
pub trait Sampler {
    /// The table; the same at every call.
    fn channels(&self) -> heapless::Vec<Channel, CHANNELS_MAX>;
    /// Milliseconds between two readings of a channel, at least [`limits::PERIOD_MS_MIN`].
    fn period_ms(&self, channel: ChannelId) -> u32;
    /// Reads one channel; none when the sensor has nothing to say or fails, which is not a loss.
    async fn sample(&mut self, channel: ChannelId) -> Option<Value>;
    /// Something for people: a sensor began to fail, or works again. Asked after every [`Sampler::sample`].
    fn poll_log(&mut self) -> Option<(LogLevel, heapless::String<LOG_BYTES_MAX>)> {
        None
    }
}

/// Is told what happens: lamps, a screen, a test. Every method may be left out.
pub trait Observer {
    /// A reading was taken. It is in RAM until its batch is stored.
    fn sampled(&self, boot: BootId, seq: Seq) {
        let _ = (boot, seq);
    }
    /// A batch is in flash.
    fn stored(&self, batch: &Batch) {
        let _ = batch;
    }
    /// The receiver has `item` durably.
    fn delivered(&self, item: &Item) {
        let _ = item;
    }
    /// Flash refuses, and the open batch is full: a reading was lost and its place will be told as a gap.
    fn refused(&self, boot: BootId) {
        let _ = boot;
    }
    /// The ring was full: `count` entries, of this boot or earlier ones, were lost and will be told as gaps.
    fn lost(&self, count: u32) {
        let _ = count;
    }
    /// Somebody wants to see which device this is: blink for some seconds.
    fn identify(&self) {}
    /// Sampling went on: a channel that was due was read, or all that was due was done and what was to be stored was
    /// offered to flash. Comes at least every [`ALIVE_MS`](limits::ALIVE_MS) and the time of one reading or one write,
    /// however long the periods, and not at all when a sensor or flash does not come back. Feed a watchdog here and nowhere
    /// else. Before a restart that was asked for it stays away for [`RESTART_DELAY_MS`](limits::RESTART_DELAY_MS) and, where
    /// flash refuses the last batch, two seconds more.
    fn alive(&self) {}
}

impl Observer for () {}
