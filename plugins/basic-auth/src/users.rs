//! The users of the configuration.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use crate::config::{Config, milliseconds};
use crate::hash::Hash;

/// A user.
#[derive(Debug)]
pub(crate) struct User {
    /// The name as the origin sees it.
    pub(crate) shown: String,
    pub(crate) hash: Hash,
    /// The hash as it stands in the configuration.
    pub(crate) text: String,
}

#[derive(Debug)]
pub(crate) struct Users {
    all: BTreeMap<String, User>,
    /// The salt for the choice of a stand-in, from the hashes of the users, which nobody else
    /// knows.
    secret: [u8; 32],
}

impl Users {
    pub(crate) fn new(config: &Config) -> Result<Users, String> {
        let time = milliseconds("hash_time", &config.hash_time, 1, 10_000)?;
        let mut all = BTreeMap::new();
        let mut add = |name: &str, text: &str| {
            let user = User::new(name, text)?;
            user.afford(time, config.hash_memory)?;
            match all.insert(name.to_owned(), user) {
                Some(_) => Err("there are two users of this name".to_owned()),
                None => Ok(()),
            }
        };
        for (name, hash) in &config.users {
            let place = format!("users.{name}");
            add(name, hash.expose().trim()).map_err(|reason| format!("{place}: {reason}"))?;
        }
        let lines = config.htpasswd.as_ref().map_or("", |text| text.expose()).lines();
        for (at, line) in lines.map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if at >= MOST_LINES {
                return Err(format!("htpasswd: more than {MOST_LINES} lines"));
            }
            let place = format!("htpasswd: line {}", at + 1);
            let (name, text) =
                line.split_once(':').ok_or_else(|| format!("{place}: not NAME:HASH"))?;
            add(name, text).map_err(|reason| format!("{place}: {reason}"))?;
        }
        if all.is_empty() {
            return Err("users: there must be one, here or in htpasswd".to_owned());
        }
        let texts = all.values().map(|user: &User| user.text.as_bytes());
        let secret = texts.fold(Sha256::new(), |hash, text| hash.chain_update(text)).finalize();
        Ok(Users { all, secret: secret.into() })
    }

    /// Returns the milliseconds that the slowest hash takes, by estimate.
    pub(crate) fn time(&self) -> u64 {
        self.all.values().map(|user| user.hash.time()).max().unwrap_or(0).div_ceil(1_000_000)
    }

    /// Returns the user of a name, and whether there is one. An unknown name gets a stand-in,
    /// always the same, so that the time of the hash does not reveal that the name is unknown.
    #[expect(clippy::expect_used, reason = "there is at least one user")]
    pub(crate) fn find(&self, name: &str) -> (&User, bool) {
        // Runs for known names too, so that both cases take the same time.
        let choice = Sha256::new().chain_update(self.secret).chain_update(name).finalize();
        let [a, b, ..]: [u8; 32] = choice.into();
        let index = usize::from(u16::from_le_bytes([a, b])) % self.all.len();
        let stand_in = self.all.values().nth(index).expect("the index is below the length");
        match self.all.get(name) {
            Some(user) => (user, true),
            None => (stand_in, false),
        }
    }
}

impl User {
    fn new(name: &str, text: &str) -> Result<User, String> {
        if name.is_empty() || name.len() > 255 || name.contains([':', '\0']) {
            return Err("a name has 1 to 255 bytes and no colon".to_owned());
        }
        if name.contains(char::is_control) {
            return Err("a name has no control characters".to_owned());
        }
        Ok(User { shown: encoded(name), hash: Hash::parse(text)?, text: text.to_owned() })
    }

    /// Returns an error if the hash takes more than `time`, in milliseconds, or `memory`, in MiB.
    fn afford(&self, time: u64, memory: u32) -> Result<(), String> {
        let takes = self.hash.time() / 1_000_000;
        if takes > time {
            return Err(format!(
                "the hash takes about {takes} ms, during which the worker serves no other request: take a lower cost (`htpasswd -nbB -C 10`), or \
                 set hash_time to {takes}ms and limits.time of the plugin to {}ms",
                2 * takes
            ));
        }
        let takes = self.hash.memory().div_ceil(1 << 20);
        if takes > u64::from(memory) {
            return Err(format!(
                "the hash takes {takes} MiB: set hash_memory to {takes} and limits.memory of the plugin to {}MiB",
                takes + 4
            ));
        }
        Ok(())
    }
}

/// Percent-encodes a name for a field: all bytes outside visible ASCII, and `%`.
fn encoded(name: &str) -> String {
    name.bytes().fold(String::new(), |mut shown, byte| {
        match char::from(byte) {
            letter if letter.is_ascii_graphic() && letter != '%' => shown.push(letter),
            _ => shown.push_str(&format!("%{byte:02X}")),
        }
        shown
    })
}

const MOST_LINES: usize = 10_000;
