//! Compiled code: from files of earlier compilations, from a compiler in another process, or
//! compiled here.
//!
//! A compilation in this process cannot be stopped. A server therefore gives an [`Outside`], which
//! compiles under limits and can be ended.

use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use std::{fs, io};

use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;

use crate::engine::Engine;
use crate::error::PluginError;

/// Compiles components outside of this process.
pub trait Outside: Send + Sync {
    /// Compiles a component with [`compile`] in another process. Returns its result.
    ///
    /// # Errors
    ///
    /// [`CompileFailure`].
    fn compile(&self, settings: Settings, wasm: &[u8]) -> Result<Vec<u8>, CompileFailure>;
}

/// Why a component was not compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileFailure {
    /// It is no valid component.
    #[error("{0}")]
    Component(String),
    /// The compilation was ended: it took too much time or memory.
    #[error("{0}")]
    Ended(String),
    /// There is no other process. The component is compiled in this one.
    #[error("{0}")]
    Unavailable(String),
}

/// The settings of the engine that the code is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Whether it is the engine for standard components.
    pub(crate) is_standard: bool,
    /// Whether its instances come from a pool.
    pub(crate) is_pooled: bool,
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.is_standard, self.is_pooled) {
            (false, true) => "plugin",
            (false, false) => "plugin-unpooled",
            (true, true) => "standard",
            (true, false) => "standard-unpooled",
        })
    }
}

impl FromStr for Settings {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (is_standard, is_pooled) = match text {
            "plugin" => (false, true),
            "plugin-unpooled" => (false, false),
            "standard" => (true, true),
            "standard-unpooled" => (true, false),
            _ => return Err(format!("there is no engine {text:?}")),
        };
        Ok(Self { is_standard, is_pooled })
    }
}

/// Compiles a component for an engine with these settings.
///
/// # Errors
///
/// The compiler's error with its causes.
pub fn compile(settings: Settings, wasm: &[u8]) -> Result<Vec<u8>, String> {
    let engine = Engine::compiler(settings).map_err(|error| format!("{error:#}"))?;
    engine.precompile_component(wasm).map_err(|error| format!("{error:#}"))
}

/// The source of compiled code.
#[derive(Clone, Default)]
pub(crate) struct Code {
    /// Keeps compiled code.
    pub(crate) directory: Option<PathBuf>,
    pub(crate) outside: Option<Arc<dyn Outside>>,
}

impl Code {
    /// Returns the compiled component.
    pub(crate) fn load(
        &self,
        engine: &wasmtime::Engine,
        settings: Settings,
        plugin: &Arc<str>,
        wasm: &[u8],
    ) -> Result<Component, PluginError> {
        let file = self.directory.as_ref().map(|directory| directory.join(name(engine, wasm)));
        if let Some(component) = file.as_ref().and_then(|file| kept(engine, file)) {
            return Ok(component);
        }
        let begun = Instant::now();
        tracing::info!(plugin = &**plugin, bytes = wasm.len(), "compiling");
        let code = self.compile(engine, settings, plugin, wasm)?;
        let took = begun.elapsed();
        tracing::info!(plugin = &**plugin, ?took, "compiled");
        let kept_at = file.filter(|file| {
            let written = keep(file, &code);
            if let Err(error) = &written {
                tracing::info!(file = %file.display(), %error, "compiled code is not kept");
            }
            written.is_ok()
        });
        if let Some(component) = kept_at.and_then(|file| kept(engine, &file)) {
            return Ok(component);
        }
        // SAFETY: the code comes from the compiler of this binary.
        #[allow(unsafe_code, reason = "the only way to load code of another process")]
        let component = unsafe { Component::deserialize(engine, &code) };
        component.map_err(|error| PluginError::unloadable(plugin, "load its code", error))
    }

    fn compile(
        &self,
        engine: &wasmtime::Engine,
        settings: Settings,
        plugin: &Arc<str>,
        wasm: &[u8],
    ) -> Result<Vec<u8>, PluginError> {
        if let Some(outside) = &self.outside {
            match outside.compile(settings, wasm) {
                Ok(code) => return Ok(code),
                Err(CompileFailure::Unavailable(reason)) => {
                    tracing::warn!(
                        plugin = &**plugin,
                        reason,
                        "no process for the compiler: compiling in this one, without its limits"
                    );
                }
                Err(CompileFailure::Component(reason)) => {
                    let what = format!("this is not a WebAssembly component: {reason}");
                    return Err(PluginError::invalid(plugin, what));
                }
                Err(CompileFailure::Ended(reason)) => {
                    return Err(PluginError::invalid(plugin, reason));
                }
            }
        }
        engine.precompile_component(wasm).map_err(|error| {
            PluginError::unloadable(plugin, "this is not a WebAssembly component", error)
        })
    }
}

/// Returns the name of the file for a component: its digest, and that of everything on which its
/// code depends (the compiler's version, its settings, the processor).
fn name(engine: &wasmtime::Engine, wasm: &[u8]) -> String {
    let mut settings = Hash(Sha256::new());
    std::hash::Hash::hash(&engine.precompile_compatibility_hash(), &mut settings);
    let hex = |digest: &[u8]| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let settings = hex(settings.0.finalize().get(..16).unwrap_or_default());
    format!("{}-{settings}.{EXTENSION}", hex(&Sha256::digest(wasm)))
}

/// Feeds a digest with the bytes of a hash.
struct Hash(Sha256);

impl std::hash::Hasher for Hash {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

/// Returns the component in a file, if there is one. A file with other bytes than code is removed.
fn kept(engine: &wasmtime::Engine, file: &Path) -> Option<Component> {
    if !file.exists() {
        return None;
    }
    // SAFETY: only this process and others of the same user write the file, in one step. The
    // documentation says that its directory must be trusted.
    #[allow(unsafe_code, reason = "the only way to map code of an earlier process")]
    let mapped = unsafe { Component::deserialize_file(engine, file) };
    let loaded = mapped.or_else(|_| {
        // A file system may forbid to run its files. Their bytes can be copied.
        let code = fs::read(file).map_err(|error| (false, error.to_string()))?;
        // SAFETY: as above.
        #[allow(unsafe_code, reason = "the only way to load code of an earlier process")]
        let component = unsafe { Component::deserialize(engine, &code) };
        component.map_err(|error| (true, format!("{error:#}")))
    });
    match loaded {
        Ok(component) => {
            // The oldest files are removed first. Without write access there is no order.
            let opened = fs::File::options().append(true).open(file);
            let _ = opened.and_then(|file| file.set_modified(SystemTime::now()));
            Some(component)
        }
        Err((is_no_code, error)) => {
            tracing::info!(file = %file.display(), error, "compiled code cannot be used");
            if is_no_code {
                let _ = fs::remove_file(file);
            }
            None
        }
    }
}

/// Writes a file in one step, then removes the oldest ones beyond the bound.
fn keep(file: &Path, code: &[u8]) -> io::Result<()> {
    let directory = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    // An image may be filled by one user and run by another. The code is no secret.
    let mode = fs::Permissions::from_mode(0o644);
    let mut whole =
        tempfile::Builder::new().prefix(UNFINISHED).permissions(mode).tempfile_in(directory)?;
    whole.write_all(code)?;
    // After a crash of the machine, the name must not be there without the bytes.
    whole.as_file().sync_all()?;
    whole.persist(file).map_err(|error| error.error)?;
    sweep(directory, MAX_KEPT);
    Ok(())
}

/// Removes the oldest files beyond a number of bytes, and those that an ended process left behind.
/// Other processes may do the same at the same time.
fn sweep(directory: &Path, most: u64) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let Some(about) = entry.metadata().ok().filter(fs::Metadata::is_file) else { continue };
        let Ok(changed) = about.modified() else { continue };
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            files.push((changed, about.len(), path));
        } else if name.to_string_lossy().starts_with(UNFINISHED)
            && changed.elapsed().is_ok_and(|age| age > ABANDONED)
        {
            let _ = fs::remove_file(path);
        }
    }
    files.sort();
    let mut bytes: u64 = files.iter().map(|(_, len, _)| len).sum();
    for (_, len, path) in files {
        if bytes <= most {
            break;
        }
        let _ = fs::remove_file(&path);
        bytes -= len;
    }
}

/// The beginning of the names of files that are being written.
const UNFINISHED: &str = ".code";

/// The age of an unfinished file whose process has ended.
const ABANDONED: Duration = Duration::from_secs(3600);

const EXTENSION: &str = "cwasm";

/// Bytes of compiled code on disk; the code of one interpreter has 60 MiB.
const MAX_KEPT: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Compiles here, counts, and fails as wanted.
    #[derive(Default)]
    struct Counting(AtomicU32, Option<CompileFailure>);

    impl Outside for Counting {
        fn compile(&self, settings: Settings, wasm: &[u8]) -> Result<Vec<u8>, CompileFailure> {
            self.0.fetch_add(1, Ordering::Relaxed);
            match &self.1 {
                Some(failure) => Err(failure.clone()),
                None => compile(settings, wasm).map_err(CompileFailure::Component),
            }
        }
    }

    fn load(code: &Code, engine: &Engine, wasm: &[u8]) -> Result<Component, PluginError> {
        code.load(engine.wasmtime(), engine.settings(), &"p".into(), wasm)
    }

    #[test]
    fn code_is_compiled_once_and_kept_under_a_bound() {
        let (folder, engine) = (tempfile::tempdir().unwrap(), Engine::new().unwrap());
        let counting = Arc::new(Counting::default());
        let code = Code {
            directory: Some(folder.path().join("new")),
            outside: Some(Arc::<Counting>::clone(&counting)),
        };
        let one = b"(component)";
        let other = b"(component (core module))";
        for wasm in [&one[..], one, other, one] {
            load(&code, &engine, &wat::parse_bytes(wasm).unwrap()).unwrap();
        }
        assert_eq!(counting.0.load(Ordering::Relaxed), 2);
        // The other engine's code is not this one's.
        let standard = engine.standard().unwrap();
        load(&code, &standard, &wat::parse_bytes(one).unwrap()).unwrap();
        assert_eq!(counting.0.load(Ordering::Relaxed), 3);
        let directory = folder.path().join("new");
        let files = || fs::read_dir(&directory).unwrap().count();
        assert_eq!(files(), 3);
        fs::write(directory.join("unknown"), "kept").unwrap();
        // A process that ended left it behind.
        let old = SystemTime::now() - 2 * ABANDONED;
        fs::File::create(directory.join(".code1")).unwrap().set_modified(old).unwrap();
        fs::create_dir(directory.join("folder.cwasm")).unwrap();
        // The first file was used last.
        let used = directory.join(name(engine.wasmtime(), &wat::parse_bytes(one).unwrap()));
        let later = SystemTime::now() + Duration::from_secs(60);
        fs::File::options().append(true).open(&used).unwrap().set_modified(later).unwrap();
        sweep(&directory, fs::metadata(&used).unwrap().len());
        assert!(used.exists() && files() == 3, "a file of another name stays, and a folder");
    }

    #[test]
    fn a_file_that_does_not_fit_is_compiled_again() {
        let (folder, engine) = (tempfile::tempdir().unwrap(), Engine::new().unwrap());
        let wasm = wat::parse_str("(component)").unwrap();
        let file = folder.path().join(name(engine.wasmtime(), &wasm));
        fs::write(&file, b"no code").unwrap();
        let code = Code { directory: Some(folder.path().to_owned()), outside: None };
        load(&code, &engine, &wasm).unwrap();
        assert!(fs::read(&file).unwrap().len() > 100);
    }

    #[test]
    fn code_is_used_also_where_it_cannot_be_kept() {
        let (folder, engine) = (tempfile::tempdir().unwrap(), Engine::new().unwrap());
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let code = Code { directory: Some(file.join("below")), outside: None };
        load(&code, &engine, &wat::parse_str("(component)").unwrap()).unwrap();
    }

    #[test]
    fn a_compilation_that_was_ended_is_a_fault_of_the_component() {
        let engine = Engine::new().unwrap();
        let wasm = wat::parse_str("(component)").unwrap();
        for (failure, expected) in [
            (CompileFailure::Ended("it took too long".to_owned()), Some("it took too long")),
            (CompileFailure::Component("no end".to_owned()), Some("no WebAssembly component")),
            (CompileFailure::Unavailable("no such file".to_owned()), None),
        ] {
            let outside: Arc<dyn Outside> = Arc::new(Counting(AtomicU32::new(0), Some(failure)));
            let code = Code { directory: None, outside: Some(outside) };
            match (load(&code, &engine, &wasm), expected) {
                (Ok(_), None) => {}
                (Err(error), Some(expected)) => {
                    assert_eq!(error.kind(), "invalid");
                    let told = error.to_string().replace("not a Web", "no Web");
                    assert!(told.contains(expected), "{told}");
                }
                (loaded, expected) => panic!("{:?} {expected:?}", loaded.err()),
            }
        }
    }

    #[test]
    fn settings_are_told_to_another_process() {
        for is_standard in [true, false] {
            for is_pooled in [true, false] {
                let settings = Settings { is_standard, is_pooled };
                assert_eq!(settings.to_string().parse(), Ok(settings));
                compile(settings, &wat::parse_str("(component)").unwrap()).unwrap();
            }
        }
        assert!("other".parse::<Settings>().is_err());
        assert!(compile(Engine::new().unwrap().settings(), b"no component").is_err());
    }
}
