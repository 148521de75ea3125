//! How runs are stored in a measurement.

use headwater_journal::{Cipher, Compression, Config, Journal, STREAM_KEY_BYTES, StreamKey};

#[derive(Clone, Copy)]
pub(crate) struct Coding {
    name: &'static str,
    compression: Compression,
    cipher: Option<Cipher>,
}

const fn coding(name: &'static str, compression: Compression, cipher: Option<Cipher>) -> Coding {
    Coding { name, compression, cipher }
}

const ALL: [Coding; 6] = [
    Coding::PLAIN,
    coding("lz4", Compression::Lz4, None),
    coding("aes", Compression::None, Some(Cipher::Aes256Gcm)),
    coding("chacha", Compression::None, Some(Cipher::ChaCha20Poly1305)),
    coding("lz4+aes", Compression::Lz4, Some(Cipher::Aes256Gcm)),
    coding("lz4+chacha", Compression::Lz4, Some(Cipher::ChaCha20Poly1305)),
];

impl Coding {
    pub(crate) const PLAIN: Self = coding("plain", Compression::None, None);

    /// Names with commas between.
    pub(crate) fn parse_all(names: &str) -> Result<Vec<Self>, String> {
        let parse = |name: &str| {
            let found = ALL.iter().find(|coding| coding.name == name).copied();
            found.ok_or_else(|| format!("{name}: expected plain, lz4, aes, chacha, lz4+aes or lz4+chacha"))
        };
        names.split(',').map(parse).collect()
    }

    pub(crate) fn config(self, config: Config) -> Config {
        Config { compression: self.compression, cipher: self.cipher.unwrap_or(config.cipher), ..config }
    }

    /// Gives stream 1 a key when it is sealed.
    pub(crate) fn equip(self, journal: &Journal) {
        if self.cipher.is_some() {
            journal.keys().set(1, 1, StreamKey::new(&[7; STREAM_KEY_BYTES]));
            journal.keys().seal_with(1, Some(1));
        }
    }
}

impl std::fmt::Display for Coding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name)
    }
}
