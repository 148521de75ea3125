//! What links get from the device and bring to it.
//!
//! In: acks, the time, configurations, commands. Out: batches, outcomes. Invariants: a command is carried out once, as long
//! as it is remembered, over restarts as well; a restart that was asked for is remembered before it happens; no message
//! carries a secret up. Not here: when batches are made (`run`), bytes.

use super::Device;
use crate::orders::config_fits;
use crate::{Cursor, Item, Observer, Outbox, Spool};
use core::future::poll_fn;
use core::task::Poll;
use embedded_storage_async::nor_flash::NorFlash;
use headwater_telemetry::limits::BODY_BYTES_MAX;
use headwater_telemetry::{
    ChannelId, Command, CommandOutcome, Config, ConfigOutcome, Hello, Log, LogLevel, Order, Uptime, UtcTime,
};

impl<F: NorFlash, O: Observer> Outbox for Device<F, O> {
    fn hello(&self) -> &Hello {
        &self.hello
    }

    fn connection(&self) -> u32 {
        self.links.set(self.links.get().wrapping_add(1));
        self.hello.boot.0.wrapping_mul(0x9e37_79b9).wrapping_add(self.links.get() << 8)
    }

    async fn undelivered(&self) -> Cursor {
        self.spool.lock().await.read()
    }

    async fn next(&self, from: Cursor, out: &mut [u8; BODY_BYTES_MAX]) -> Item {
        loop {
            // A read error is not an end: the next batch, or the next connection, tries again.
            if let Ok(Some(item)) = self.spool.lock().await.next(from, self.hello.schema, out).await {
                return item;
            }
            self.fresh.wait().await;
        }
    }

    async fn delivered(&self, item: Item) {
        // First, for the power may go behind the last byte of the mark: what the next start takes for delivered was told.
        self.observer.delivered(&item);
        // When flash refuses the mark, the delivery still counts, and the next mark covers it.
        let _ = self.spool.lock().await.delivered(item.after).await;
    }

    fn log(&self, at: Uptime, level: LogLevel, text: &str) {
        Device::log(self, at, level, text);
    }

    fn poll_log(&self) -> Option<Log> {
        self.logs.borrow_mut().pop_front()
    }

    async fn log_waits(&self) {
        poll_fn(|context| {
            if !self.logs.borrow().is_empty() {
                return Poll::Ready(());
            }
            self.readers.borrow_mut().register(context.waker());
            Poll::Pending
        })
        .await;
    }

    async fn learned_time(&self, asked: Uptime, heard: Uptime, utc: UtcTime) {
        let mut spool = self.spool.lock().await;
        let mut time = self.time.get();
        time.handle_answer(asked, heard, utc);
        self.time.set(time);
        if let Some(mark) = time.mark(self.hello.boot) {
            // When flash refuses it, it dates what is sent until the next start, and the next page carries it.
            let _ = spool.learned_time(mark).await;
        }
    }

    async fn configure(&self, config: &Config) -> ConfigOutcome {
        if !self.takes(config) {
            return ConfigOutcome::Refused;
        }
        match self.spool.lock().await.store_config(config).await {
            Ok(()) => ConfigOutcome::Stored,
            Err(_) => ConfigOutcome::FlashFailed,
        }
    }

    async fn perform(&self, command: &Command) -> CommandOutcome {
        let id = command.id;
        // Held to the end: the same command may come on two links at once.
        let mut spool = self.spool.lock().await;
        // Pieces of credentials know by themselves whether they came before, and many of them must not push out the rest.
        if let Order::Credentials(part) = &command.order {
            return spool.take_credentials(part).await;
        }
        if let Some(outcome) = spool.orders().outcome(id) {
            return outcome;
        }
        let outcome = match &command.order {
            Order::Identify => {
                self.observer.identify();
                CommandOutcome::Done
            }
            Order::Reboot => CommandOutcome::Done,
            Order::Provision(config) if self.takes(config) => match spool.provision(config, id).await {
                Ok(()) => return CommandOutcome::Done,
                Err(_) => CommandOutcome::FlashFailed,
            },
            &Order::Period { channel, period_ms } => {
                return self.order_period(&mut spool, command, channel, period_ms).await;
            }
            Order::Provision(_) | Order::Credentials(_) => CommandOutcome::Refused,
        };
        let mut orders = spool.orders().clone();
        orders.remember(id, outcome);
        if spool.store_orders(&orders).await.is_err() {
            // Not remembered over a restart, a restart would be done again after it, and again.
            let restarts = matches!(command.order, Order::Reboot);
            let outcome = if restarts { CommandOutcome::FlashFailed } else { outcome };
            spool.remember(id, outcome);
            return outcome;
        }
        if matches!(command.order, Order::Reboot) {
            self.restart.signal(());
        }
        outcome
    }

    fn identify(&self) {
        self.observer.identify();
    }
}

impl<F: NorFlash, O: Observer> Device<F, O> {
    fn takes(&self, config: &Config) -> bool {
        config_fits(config) && self.settings.reach.covers(config)
    }

    /// The period and the outcome in one record.
    async fn order_period(
        &self,
        spool: &mut Spool<F>,
        command: &Command,
        channel: Option<ChannelId>,
        period_ms: u32,
    ) -> CommandOutcome {
        let mut orders = spool.orders().clone();
        let fits = orders.order(self.hello.schema, self.hello.channels.len(), channel, period_ms);
        let outcome = if fits { CommandOutcome::Done } else { CommandOutcome::Refused };
        orders.remember(command.id, outcome);
        if spool.store_orders(&orders).await.is_err() {
            let outcome = if fits { CommandOutcome::FlashFailed } else { outcome };
            spool.remember(command.id, outcome);
            return outcome;
        }
        if fits {
            self.ordered.signal(());
        }
        outcome
    }
}
