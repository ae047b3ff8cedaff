//! Keeps what is served up with the manifests: when they are edited, and when somebody asks for an agent that is not there.

use std::{
    error::Error,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use async_trait::async_trait;
use rockbot_agent::{Agent, Environment};
use rockbot_agent_server::{AgentResolver, Server};

use super::{
    configs,
    manifests::{self, Manifests, Source},
    secrets::SecretFiles,
};

/// The manifests of a server, and what it serves of them.
pub(super) struct Reload {
    files: Vec<PathBuf>,
    state_dir: PathBuf,
    secrets: SecretFiles,
    /// Weak because the server asks this for agents that it does not have.
    server: Weak<Server>,
    /// What the manifests said when they were loaded last. Held while they are read, so that what is newer wins.
    loaded: Mutex<Vec<Source>>,
}

impl Reload {
    /// Loads manifests into `server`, from then on also when an agent is asked for that none of them had.
    ///
    /// # Errors
    /// When a manifest is wrong: the file, the object and the field.
    pub(super) fn start(files: Vec<PathBuf>, state_dir: PathBuf, server: &Arc<Server>) -> anyhow::Result<Arc<Self>> {
        let reload = Arc::new(Self {
            files,
            state_dir,
            secrets: SecretFiles::new()?,
            server: Arc::downgrade(server),
            loaded: Mutex::default(),
        });
        reload.load()?;
        server.set_resolver(Arc::clone(&reload) as Arc<dyn AgentResolver>);
        Ok(reload)
    }

    /// Serves what the manifests say by now, and says so if that is anything new.
    ///
    /// # Errors
    /// When a manifest is wrong: the file, the object and the field. The server then goes on as it was.
    pub(super) fn run(&self) -> anyhow::Result<()> {
        if let Some(server) = self.load()? {
            eprintln!("reloaded: {}", names(&server));
        }
        Ok(())
    }

    /// The server, if it has something new.
    fn load(&self) -> anyhow::Result<Option<Arc<Server>>> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let sources = manifests::read(&self.files)?;
        let Some(server) = self.server.upgrade().filter(|_| *loaded != sources) else {
            return Ok(None);
        };
        let manifests = Manifests::of(&sources)?;
        self.secrets.replace(&manifests.secrets)?;
        let (configs, notes) = configs::of(&manifests, &self.secrets, &self.state_dir)?;
        notes.iter().for_each(|note| eprintln!("note: {note}"));
        server.set_agents(configs)?;
        *loaded = sources;
        Ok(Some(server))
    }
}

#[async_trait]
impl AgentResolver for Reload {
    /// Edits are noticed a moment later, and on some file systems never; whoever has written a manifest and asks for its
    /// agent shall have it at once.
    async fn resolve(&self, name: &str, _: &Environment) -> Result<Option<Arc<Agent>>, Box<dyn Error + Send + Sync>> {
        self.run()?;
        let server = self.server.upgrade();
        Ok(server.and_then(|server| server.agents().get(name)))
    }
}

/// The agents of a server, for people.
pub(super) fn names(server: &Server) -> String {
    let names = server.agents().names();
    if names.is_empty() {
        "no agent".to_owned()
    } else {
        names.join(", ")
    }
}
