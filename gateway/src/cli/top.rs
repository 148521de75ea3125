//! `headwater top`: a running gateway at a glance, again and again.
//!
//! In: its status port. Out: a table that fills the terminal, renewed each second; once, where nobody looks at a terminal.
//! Invariant: the terminal is as it was before, however this ends. Not here: what the table looks like (`table`).

mod keys;
mod rates;
mod screen;
mod table;

use self::rates::Looks;
use self::screen::{Screen, size};
use self::table::{View, draw};
use super::signals::{Stop, with_signals};
use super::status::ask::AskError;
use super::status::seen::Seen;
use super::{Exit, say};
use crate::config::Config;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How often the table is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(1);

/// What fits where nobody looks: the terminal that everything is made to fit.
const COLUMNS: usize = 80;

pub(super) fn top(config: &Config) -> Exit {
    let addr = config.http.listen;
    with_signals(|stop| async move {
        if std::io::stdout().is_terminal() { live(addr, stop).await } else { once(addr, stop).await }
    })
}

/// Two looks, for rates; and the table, as long as it is.
async fn once(addr: SocketAddr, stop: Stop) -> Exit {
    let mut looks = Looks::default();
    let looking = async {
        looks.add(Instant::now(), Seen::ask(addr).await?);
        tokio::time::sleep(RENEW_EVERY).await;
        looks.add(Instant::now(), Seen::ask(addr).await?);
        Ok::<_, AskError>(())
    };
    let looked = tokio::select! {
        looked = looking => looked,
        () = stop.wait() => return Exit::Ok,
    };
    if let Err(error) = looked {
        eprintln!("{error}");
        return Exit::Unavailable;
    }
    let view = View { looks: &looks, trouble: None, columns: COLUMNS, rows: usize::MAX };
    draw(&view).iter().for_each(say);
    Exit::Ok
}

async fn live(addr: SocketAddr, stop: Stop) -> Exit {
    let mut looks = Looks::default();
    let mut trouble = None;
    // Who never ran is told on a line, not on a screen that goes away.
    match Seen::ask(addr).await {
        Ok(seen) => looks.add(Instant::now(), seen),
        Err(error) => {
            eprintln!("{error}");
            return Exit::Unavailable;
        }
    }
    let Ok(mut resized) = signal(SignalKind::window_change()) else {
        eprintln!("changes of the terminal's size cannot be received");
        return Exit::Unavailable;
    };
    let mut screen = match Screen::take() {
        Ok(screen) => screen,
        Err(error) => {
            eprintln!("the terminal cannot be used: {error}");
            return Exit::Io;
        }
    };
    let mut pressed = keys::pressed();
    let mut ticks = interval(RENEW_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is at once, and the first look was just taken.
    ticks.tick().await;
    let mut stop = std::pin::pin!(stop.wait());
    loop {
        let (columns, rows) = size();
        let view = View { looks: &looks, trouble: trouble.as_deref(), columns, rows };
        if screen.show(&draw(&view)).is_err() {
            // The terminal is gone, and nobody left to tell.
            return Exit::Ok;
        }
        let looked = tokio::select! {
            () = &mut stop => return Exit::Ok,
            Some(key) = pressed.recv() => match key {
                b'q' | b'Q' => return Exit::Ok,
                _ => continue,
            },
            _ = resized.recv() => continue,
            looked = next_look(&mut ticks, addr) => looked,
        };
        match looked {
            Ok(seen) => {
                looks.add(Instant::now(), seen);
                trouble = None;
            }
            Err(error) => trouble = Some(error.to_string()),
        }
    }
}

async fn next_look(ticks: &mut tokio::time::Interval, addr: SocketAddr) -> Result<Seen, AskError> {
    ticks.tick().await;
    Seen::ask(addr).await
}
