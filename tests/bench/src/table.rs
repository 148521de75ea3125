//! Tables in Markdown, so that a run can be pasted into the README as it is.

/// Rows of text under a head.
#[derive(Debug)]
pub struct Table(Vec<Vec<String>>);

impl Table {
    /// Starts with the names of the columns.
    pub fn new<S: Into<String>>(head: impl IntoIterator<Item = S>) -> Self {
        let head: Vec<String> = head.into_iter().map(Into::into).collect();
        let rule = vec!["---".to_owned(); head.len()];
        Self(vec![head, rule])
    }

    /// Adds a row.
    ///
    /// # Panics
    /// When it has another number of cells than the head.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<_> = cells.into_iter().collect();
        assert_eq!(cells.len(), self.0[0].len(), "a row has as many cells as the head");
        self.0.push(cells);
    }

    /// Prints it under a title.
    pub fn print(&self, title: &str) {
        println!("\n{title}\n");
        for row in &self.0 {
            println!("| {} |", row.join(" | "));
        }
    }
}

/// A number as people read it: three digits, k or M behind.
#[must_use]
pub fn short(number: f64) -> String {
    match number {
        n if n >= 10e6 => format!("{:.1} M", n / 1e6),
        n if n >= 1e6 => format!("{:.2} M", n / 1e6),
        n if n >= 10e3 => format!("{:.0} k", n / 1e3),
        n if n >= 1e3 => format!("{:.1} k", n / 1e3),
        n if n >= 10.0 => format!("{n:.0}"),
        n => format!("{n:.2}"),
    }
}

/// A size in MiB.
#[must_use]
pub fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// The middle one, by `key`.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn median<T>(mut runs: Vec<T>, key: impl Fn(&T) -> f64) -> T {
    runs.sort_by(|a, b| key(a).total_cmp(&key(b)));
    let middle = runs.len() / 2;
    runs.into_iter().nth(middle).expect("at least one run")
}

/// The values below which 50 and 99 of a hundred lie, in milliseconds.
///
/// # Panics
/// When there are none.
#[must_use]
pub fn percentiles_ms(mut times: Vec<std::time::Duration>) -> (f64, f64) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)].as_secs_f64() * 1e3;
    (at(50), at(99))
}
