//! `wasi:keyvalue` on the state that plugins share, and `wasi:logging` on their log.

use wasmtime::component::{HasSelf, Linker, Resource};

use super::guest::Guest;
use crate::environment::Level;
use crate::imports::{MAX_KEY, MAX_VALUE};
use bindings::wasi::keyvalue::store::{Error, KeyResponse};
use bindings::wasi::keyvalue::{atomics, batch, store};
use bindings::wasi::logging::logging;

#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    reason = "generated code keeps its generator's style"
)]
mod bindings {
    wasmtime::component::bindgen!({
        inline: "
            package weir:standard;
            world imports {
                import wasi:keyvalue/store@0.2.0-draft;
                import wasi:keyvalue/atomics@0.2.0-draft;
                import wasi:keyvalue/batch@0.2.0-draft;
                import wasi:logging/logging@0.1.0-draft;
            }
            package wasi:keyvalue@0.2.0-draft {
                interface store {
                    variant error { no-such-store, access-denied, other(string) }
                    record key-response { keys: list<string>, cursor: option<u64> }
                    open: func(identifier: string) -> result<bucket, error>;
                    resource bucket {
                        get: func(key: string) -> result<option<list<u8>>, error>;
                        set: func(key: string, value: list<u8>) -> result<_, error>;
                        delete: func(key: string) -> result<_, error>;
                        exists: func(key: string) -> result<bool, error>;
                        list-keys: func(cursor: option<u64>) -> result<key-response, error>;
                    }
                }
                interface atomics {
                    use store.{bucket, error};
                    increment: func(bucket: borrow<bucket>, key: string, delta: u64) -> result<u64, error>;
                }
                interface batch {
                    use store.{bucket, error};
                    get-many: func(bucket: borrow<bucket>, keys: list<string>)
                        -> result<list<option<tuple<string, list<u8>>>>, error>;
                    set-many: func(bucket: borrow<bucket>, key-values: list<tuple<string, list<u8>>>)
                        -> result<_, error>;
                    delete-many: func(bucket: borrow<bucket>, keys: list<string>) -> result<_, error>;
                }
            }
            package wasi:logging@0.1.0-draft {
                interface logging {
                    enum level { trace, debug, info, warn, error, critical }
                    log: func(level: level, context: string, message: string);
                }
            }
        ",
        with: { "wasi:keyvalue/store.bucket": super::Bucket },
    });
}

/// A space of the state that a guest has opened. An empty name is the plugin's own space.
#[allow(unreachable_pub, reason = "the generated code re-exports it")]
pub struct Bucket {
    space: String,
}

/// Adds both interfaces to the imports of guests.
pub(super) fn add(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    store::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    atomics::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    batch::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    logging::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)
}

impl Guest {
    fn key(&self, bucket: &Resource<Bucket>, key: &str) -> Result<Vec<u8>, Error> {
        if key.len() > MAX_KEY {
            return Err(Error::Other(format!("a key has at most {MAX_KEY} bytes")));
        }
        let bucket = self.table.get(bucket).map_err(|error| Error::Other(error.to_string()))?;
        self.environment.key(&bucket.space, key).ok_or(Error::AccessDenied)
    }

    fn now(&self) -> u64 {
        self.environment.services().now()
    }
}

impl store::Host for Guest {
    fn open(&mut self, identifier: String) -> Result<Resource<Bucket>, Error> {
        let space = if identifier == DEFAULT { String::new() } else { identifier };
        if self.environment.key(&space, "").is_none() {
            return Err(Error::NoSuchStore);
        }
        self.table.push(Bucket { space }).map_err(|error| Error::Other(error.to_string()))
    }
}

impl store::HostBucket for Guest {
    fn get(&mut self, bucket: Resource<Bucket>, key: String) -> Result<Option<Vec<u8>>, Error> {
        let key = self.key(&bucket, &key)?;
        Ok(self.environment.state().get(&key, self.now()))
    }

    fn set(&mut self, bucket: Resource<Bucket>, key: String, value: Vec<u8>) -> Result<(), Error> {
        let key = self.key(&bucket, &key)?;
        if value.len() > MAX_VALUE {
            return Err(Error::Other(format!("a value has at most {MAX_VALUE} bytes")));
        }
        self.environment.state().set(&key, &value, 0, self.now());
        Ok(())
    }

    fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Result<(), Error> {
        let key = self.key(&bucket, &key)?;
        self.environment.state().remove(&key);
        Ok(())
    }

    fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Result<bool, Error> {
        Ok(self.get(bucket, key)?.is_some())
    }

    fn list_keys(
        &mut self,
        _bucket: Resource<Bucket>,
        _cursor: Option<u64>,
    ) -> Result<KeyResponse, Error> {
        Err(Error::Other("the state does not list its keys".to_owned()))
    }

    fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for Guest {
    fn increment(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        delta: u64,
    ) -> Result<u64, Error> {
        let key = self.key(&bucket, &key)?;
        let too_large = |_| Error::Other("the counter is beyond its range".to_owned());
        let by = i64::try_from(delta).map_err(too_large)?;
        u64::try_from(self.environment.state().add(&key, by, 0, self.now())).map_err(too_large)
    }
}

impl batch::Host for Guest {
    fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Result<Vec<Option<(String, Vec<u8>)>>, Error> {
        let mut found = Vec::with_capacity(keys.len());
        for name in keys {
            let key = self.key(&bucket, &name)?;
            found.push(self.environment.state().get(&key, self.now()).map(|value| (name, value)));
        }
        Ok(found)
    }

    fn set_many(
        &mut self,
        bucket: Resource<Bucket>,
        key_values: Vec<(String, Vec<u8>)>,
    ) -> Result<(), Error> {
        for (key, value) in key_values {
            store::HostBucket::set(self, Resource::new_borrow(bucket.rep()), key, value)?;
        }
        Ok(())
    }

    fn delete_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Result<(), Error> {
        for key in keys {
            store::HostBucket::delete(self, Resource::new_borrow(bucket.rep()), key)?;
        }
        Ok(())
    }
}

impl logging::Host for Guest {
    fn log(&mut self, level: logging::Level, context: String, message: String) {
        let level = match level {
            logging::Level::Trace | logging::Level::Debug => Level::Debug,
            logging::Level::Info => Level::Info,
            logging::Level::Warn => Level::Warn,
            logging::Level::Error | logging::Level::Critical => Level::Error,
        };
        let separator = if context.is_empty() { "" } else { ": " };
        self.voice.with(|voice| voice.say(level, &format!("{context}{separator}{message}")));
    }
}

/// The name that toolchains give to the store of a component that names none.
const DEFAULT: &str = "default";
