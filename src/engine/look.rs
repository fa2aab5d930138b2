//! Whether a target has anything to do: its inputs, its key, and what is on disk.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::cache::digest::Digest;
use crate::cache::inputs::{self, InputError, Inputs};
use crate::cache::key::{self, Preimage, Section, Value};
use crate::cache::manifest::Manifest;
use crate::cache::store::State;
use crate::cache::walk::Tree;
use crate::docker::{EngineError, PushError, PushErrorKind};
use crate::graph;
use crate::image::context::ContextError;
use crate::image::registry::{RegistryError, RegistryErrorKind};
use crate::pipeline::interpolate::Unresolved;
use crate::pipeline::model::{Kind, Reference, Service, Target, TargetId, Text};

use super::environment::Declared;
use super::glance::Glance;
use super::render::{Plain, Symbolic, Values, quote};
use super::session::Session;
use super::tools::ToolError;

/// What was found.
pub struct Look {
    pub inputs: Inputs,
    /// Whole, unless a glance was enough to tell that there is nothing to do.
    pub preimage: Preimage,
    pub key: Digest,
    /// The state it is in, if that is what the key asks for: nothing to do.
    pub fresh: Option<State>,
    /// Why it isn't.
    pub reason: String,
    /// [`Place::writes`] of what its needs left, when it began to run.
    ///
    /// [`Place::writes`]: crate::cache::restore::Place::writes
    pub needs: HashMap<TargetId, Option<Digest>>,
}

/// Why a target can't even be looked at.
#[derive(Clone, Debug)]
pub struct Fault {
    pub message: String,
    pub help: Option<String>,
    /// 3 when something is missing, else 1.
    pub exit_with: u8,
}

impl Fault {
    pub fn failed(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
            exit_with: 1,
        }
    }
}

impl From<ToolError> for Fault {
    fn from(error: ToolError) -> Self {
        Self {
            message: error.message,
            help: Some(error.help),
            exit_with: 3,
        }
    }
}

impl From<Unresolved> for Fault {
    fn from(error: Unresolved) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<InputError> for Fault {
    fn from(error: InputError) -> Self {
        Self {
            help: error.help(),
            ..Self::failed(format!("its inputs can't be told: {error}"))
        }
    }
}

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        Self {
            exit_with: if error.is_absent() { 3 } else { 1 },
            message: error.message,
            help: error.help,
        }
    }
}

impl From<RegistryError> for Fault {
    fn from(error: RegistryError) -> Self {
        use RegistryErrorKind::{Denied, NoCredentials};
        let missing = matches!(error.kind, Denied | NoCredentials);
        Self {
            message: error.message,
            help: error.help,
            exit_with: if missing { 3 } else { 1 },
        }
    }
}

impl From<PushError> for Fault {
    fn from(error: PushError) -> Self {
        let missing = error.kind == PushErrorKind::Denied;
        Self {
            message: error.message,
            help: error.help,
            exit_with: if missing { 3 } else { 1 },
        }
    }
}

impl From<ContextError> for Fault {
    fn from(error: ContextError) -> Self {
        Self {
            message: error.message,
            help: Some(error.help),
            exit_with: 1,
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::failed(error.to_string())
    }
}

impl Session {
    /// Finds inputs and makes the key; with `glance`, from a walk that was made for all, else from one of its own.
    ///
    /// # Errors
    /// A tool is missing, a file unreadable, a reference without value.
    pub fn look(&self, target: &Target, glance: Option<Glance>) -> Result<Look, Fault> {
        let rest = self.rest_of_preimage(target)?;
        let state = self.state(&target.address);
        let asks = self.uses_cache(target.id) && !self.options.force;
        if let (true, Some(glance), Some(state)) = (asks, &glance, &state)
            && self.is_as_it_was(target, glance, &rest, state)
        {
            if let Some(Ok(inputs)) = &glance.inputs {
                self.learn(target, inputs);
            }
            return Ok(Look {
                inputs: Inputs::default(),
                preimage: rest,
                key: state.key,
                fresh: Some(state.clone()),
                reason: String::new(),
                needs: HashMap::new(),
            });
        }
        let (inputs, digests) = match glance {
            Some(Glance {
                inputs: Some(inputs),
                digests,
                ..
            }) => (inputs?, digests),
            _ => (self.inputs(target, None)?, None),
        };
        let mut preimage = rest.clone();
        match digests {
            Some(digests) => inputs::describe_with(&inputs, digests, &mut preimage),
            None => inputs::describe(&inputs, &self.index, &mut preimage)
                .map_err(InputError::Unreadable)?,
        }
        let key = preimage.key();
        let mut look = Look {
            inputs,
            preimage,
            key,
            fresh: None,
            reason: String::new(),
            needs: HashMap::new(),
        };
        if !asks {
            look.reason = if self.is_audited(target.id) {
                "audited"
            } else if self.options.force {
                "forced"
            } else if self.options.no_cache {
                "without the cache"
            } else {
                "always runs"
            }
            .into();
            return Ok(look);
        }
        look.reason = match state {
            Some(state) if state.key == key => match self.is_as_left(target, &state)? {
                None => {
                    if self.leave_memo(target, &look.inputs, &rest, &state) {
                        self.learn(target, &look.inputs);
                    }
                    look.fresh = Some(state);
                    String::new()
                }
                Some(reason) => reason,
            },
            Some(state) => self.difference(&state, &look.preimage),
            None => "never ran here".into(),
        };
        Ok(look)
    }

    /// Where the inputs are now.
    ///
    /// # Errors
    /// An unreadable directory, a name that isn't UTF-8.
    pub fn inputs(&self, target: &Target, tree: Option<&Tree>) -> Result<Inputs, InputError> {
        if let Kind::Image(image) = &target.kind {
            return self.context(target, image);
        }
        let spec = self.spec(target.id);
        match tree {
            Some(tree) => self.finder().find(spec, tree),
            None => self.finder().find(spec, &self.walker.walk(&spec.bases)?),
        }
    }

    fn is_as_it_was(
        &self,
        target: &Target,
        glance: &Glance,
        rest: &Preimage,
        state: &State,
    ) -> bool {
        let memo = self.memo(&target.address);
        memo.is_some_and(|memo| glance.confirms(rest, &memo, state))
            && !self.is_unfinished(&target.address)
    }

    /// What isn't as the target left it when it was in this state; none where all is.
    fn is_as_left(&self, target: &Target, state: &State) -> Result<Option<String>, Fault> {
        if let Kind::Image(image) = &target.kind {
            return self.misses(target, image, state);
        }
        let intact = |manifest: Arc<Manifest>| self.place().is_intact(&manifest).unwrap_or(false);
        let manifest = self.manifest(&state.manifest);
        let is_intact = !self.is_unfinished(&target.address) && manifest.is_some_and(intact);
        Ok((!is_intact).then(|| "its outputs changed".into()))
    }

    /// What changed since the target last succeeded, in one line.
    fn difference(&self, state: &State, now: &Preimage) -> String {
        let before = self
            .blobs
            .read(&state.preimage)
            .and_then(|bytes| key::decode(&bytes));
        let (Some(before), Some(after)) = (before, key::decode(now.bytes())) else {
            return "changed".into();
        };
        let changes = key::diff(&before, &after);
        match changes.as_slice() {
            [] => "changed".into(),
            [only] => only.sentence(),
            [first, rest @ ..] => format!("{} (and {} more)", first.sentence(), rest.len()),
        }
    }

    /// Everything that the target is made of.
    ///
    /// # Errors
    /// See [`Session::look`].
    pub fn preimage(&self, target: &Target, inputs: &Inputs) -> Result<Preimage, Fault> {
        let mut preimage = self.rest_of_preimage(target)?;
        inputs::describe(inputs, &self.index, &mut preimage).map_err(InputError::Unreadable)?;
        Ok(preimage)
    }

    /// All but the inputs, which come last.
    fn rest_of_preimage(&self, target: &Target) -> Result<Preimage, Fault> {
        let mut preimage = Preimage::default();
        let values = Values {
            session: self,
            target,
            endpoints: None,
        };
        preimage.text(Section::Platform, "os", std::env::consts::OS);
        preimage.text(Section::Platform, "arch", std::env::consts::ARCH);
        preimage.text(Section::Target, "target", &*target.address);
        preimage.text(Section::Target, "kind", target.kind.name());
        preimage.text(Section::Target, "shell", quote(&target.shell));
        preimage.text(Section::Target, "dir", &target.dir);
        preimage.text(
            Section::Target,
            "incremental",
            target.incremental.to_string(),
        );
        if target.sandbox {
            // What was made with everything in sight says nothing of what is made of the declared files alone. Told
            // only where it is set: results of before keep their keys.
            preimage.text(Section::Target, "sandbox", "true");
        }
        for (number, line) in self.commands(target, &values)?.iter().enumerate() {
            preimage.text(Section::Command, &(number + 1).to_string(), line);
        }
        let declared = Declared::of(target, &self.caller, &self.ws.root)?;
        declared.describe(&mut preimage, &values)?;
        preimage.text(Section::Env, "secret-env", target.secret_env.join(" "));
        self.describe_tools(target, &declared, &mut preimage)?;
        for output in &target.outputs {
            preimage.text(Section::Output, &output.pattern, "");
        }
        for service in &target.services {
            self.describe_service(self.ws.service(*service), &mut preimage)?;
        }
        match &target.kind {
            Kind::Image(image) => self.describe_image(target, image, &mut preimage)?,
            _ => self.describe_needs(target, &mut preimage),
        }
        Ok(preimage)
    }

    /// What isn't as a preimage says, of variables, of tools and of these inputs. Stats alone can be equal within the clock's tick:
    /// what is too young to be told apart by them is read again.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn outdated(
        &self,
        target: &Target,
        inputs: &Inputs,
        before: &Preimage,
    ) -> Result<Option<String>, Fault> {
        let values = Values {
            session: self,
            target,
            endpoints: None,
        };
        let mut now = Preimage::default();
        let declared = Declared::of(target, &self.caller, &self.ws.root)?;
        declared.describe(&mut now, &values)?;
        self.describe_tools(target, &declared, &mut now)?;
        inputs::describe(inputs, &self.index, &mut now).map_err(InputError::Unreadable)?;
        let fields = |preimage: &Preimage| key::decode(preimage.bytes()).unwrap_or_default();
        let changes = key::diff(&fields(before), &fields(&now));
        let changed = changes.into_iter().find(|change| change.after.is_some());
        Ok(changed.map(|change| match change.section {
            Section::Env => format!("the value of {} changed", change.name),
            Section::Tool => format!("its tool {} became another", change.name),
            _ => format!("its input {} changed", change.name),
        }))
    }

    /// The lines that run, with the words after `--` where they belong.
    ///
    /// # Errors
    /// A reference has no value.
    pub fn commands(&self, target: &Target, values: &Values) -> Result<Vec<String>, Unresolved> {
        let Kind::Command { run } = &target.kind else {
            return Ok(Vec::new());
        };
        let mut lines = run
            .iter()
            .map(|line| line.render(values))
            .collect::<Result<Vec<_>, _>>()?;
        let args = self.args_of(target.id);
        let placed = run
            .iter()
            .flat_map(Text::references)
            .any(|reference| matches!(reference, Reference::Args));
        if let (false, false, Some(last)) = (args.is_empty(), placed, lines.last_mut()) {
            *last = format!("{} {}", last.trim_end(), quote(args));
        }
        Ok(lines)
    }

    /// Where the target's commands run.
    pub fn directory(&self, target: &Target) -> PathBuf {
        self.ws.root.join(&target.dir)
    }

    fn describe_tools(
        &self,
        target: &Target,
        declared: &Declared,
        preimage: &mut Preimage,
    ) -> Result<(), Fault> {
        if target.tools.is_empty() {
            return Ok(());
        }
        // A tool is looked for where the target's commands would find it; its services aren't up for that.
        let none = std::collections::HashMap::new();
        let values = Values {
            session: self,
            target,
            endpoints: Some(&none),
        };
        let key_values = Values {
            session: self,
            target,
            endpoints: None,
        };
        let env = declared
            .environment(&self.caller, &values)
            .or_else(|_| declared.environment(&self.caller, &key_values))?;
        let dir = self.directory(target);
        for tool in &target.tools {
            let version = self.tools.version(tool, &dir, &env)?;
            preimage.text(Section::Tool, &tool.name, version);
        }
        Ok(())
    }

    fn describe_service(
        &self,
        service: &Service,
        preimage: &mut Preimage,
    ) -> Result<(), Unresolved> {
        let symbolic = Symbolic(Plain {
            session: self,
            project: service.project,
        });
        let render = |text: &Text| text.render(&symbolic);
        let field = |what: String| format!("{} {what}", service.name);
        if let Some(image) = &service.image {
            let image = render(image)?;
            let digest = self.image_digest(&image, !service.run.is_empty());
            let value = digest.map_or(Value::Absent, Value::Text);
            preimage.add(Section::Service, &field(format!("image {image}")), &value);
        }
        for (number, line) in (1..).zip(&service.run) {
            let name = field(format!("run {number}"));
            preimage.text(Section::Service, &name, render(line)?);
        }
        for (name, text) in &service.env {
            let name = field(format!("env {name}"));
            preimage.text(Section::Service, &name, render(text)?);
        }
        let ports = service.ports.iter().map(|port| port.inside.to_string());
        let ports = ports.collect::<Vec<_>>().join(" ");
        preimage.text(Section::Service, &field("ports".into()), ports);
        Ok(())
    }

    fn describe_needs(&self, target: &Target, preimage: &mut Preimage) {
        if target.needs.is_empty() {
            return;
        }
        let direct = graph::leaf_needs(&self.ws, target.id);
        for need in &direct {
            let value = match self.outputs_of(*need) {
                Some(done) => Value::Digest(done.outputs),
                None => Value::Absent,
            };
            preimage.add(Section::Upstream, &self.ws.target(*need).address, &value);
        }
        let spec = self.spec(target.id);
        for need in self.indirect_needs(target) {
            let Some(done) = self.outputs_of(need) else {
                continue;
            };
            let picked = inputs::picked_up(spec, &done.manifest);
            let nodes = done.manifest.entries.iter().map(|entry| &entry.node);
            if !picked.is_empty()
                && picked.len() == nodes.filter(|node| !node.is_directory()).count()
            {
                let address = &self.ws.target(need).address;
                preimage.add(Section::Upstream, address, &Value::Digest(done.outputs));
            } else {
                inputs::describe_picked(&picked, preimage);
            }
        }
    }

    /// What the target needs through others and may pick something up of.
    fn indirect_needs(&self, target: &Target) -> Vec<TargetId> {
        let direct: HashSet<_> = graph::leaf_needs(&self.ws, target.id).into_iter().collect();
        let spec = self.spec(target.id);
        let mut indirect = self.makers().needed_by(&self.ws, target.id, &spec.bases);
        indirect.retain(|need| !direct.contains(need));
        indirect
    }

    /// The needs whose outputs the target's key tells: what it needs itself, and what it picks something up of.
    pub(super) fn needs_told(&self, target: &Target) -> Vec<TargetId> {
        if target.needs.is_empty() {
            return Vec::new();
        }
        let mut needs = graph::leaf_needs(&self.ws, target.id);
        if matches!(target.kind, Kind::Command { .. }) {
            let spec = self.spec(target.id);
            let picks = |need: &TargetId| {
                let done = self.outputs_of(*need);
                done.is_some_and(|done| !inputs::picked_up(spec, &done.manifest).is_empty())
            };
            needs.extend(self.indirect_needs(target).into_iter().filter(picks));
        }
        needs
    }
}
