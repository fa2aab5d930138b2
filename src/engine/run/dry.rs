//! `--dry-run`: what would happen, and nothing does.

use std::sync::Arc;

use crate::engine::deploy;
use crate::engine::event::{Event, Listener};
use crate::engine::plan::{Plan, action};
use crate::engine::session::Session;
use crate::pipeline::model::{Deploy, Kind, Target, TargetId};

use super::{Coordinator, Summary, is_group};

/// Tells what would happen, in order, with nothing changed.
pub fn dry_run(session: &Arc<Session>, plan: &Plan, listener: &mut dyn Listener) -> Summary {
    let mut coordinator = Coordinator::new(session, plan, listener);
    coordinator.start();
    let mut would_run: Vec<Option<Arc<str>>> = vec![None; plan.targets.len()];
    for number in 0..plan.targets.len() {
        let target = coordinator.target(number);
        let running_need = plan.nodes[number]
            .needs
            .iter()
            .find_map(|&need| would_run[need].clone());
        if is_group(target) {
            would_run[number] = running_need;
            continue;
        }
        if let (Kind::Deploy(deploy), None) = (&target.kind, &plan.nodes[number].unmet) {
            would_run[number] = coordinator.plan_deployment(target, deploy, &would_run);
            continue;
        }
        let running_need = match &target.kind {
            Kind::Image(image) => session.feeder(target, image, plan, &would_run),
            _ => running_need,
        };
        let look = coordinator.look_now(target);
        let planned = action(
            session,
            target,
            plan.nodes[number].unmet.as_deref(),
            running_need,
            look,
        );
        if planned.runs {
            would_run[number] = Some(Arc::clone(&target.address));
        }
        coordinator.listener.on(&planned.event);
    }
    coordinator.end()
}

impl Coordinator<'_> {
    /// Tells what a deployment would do; its address if that is anything.
    fn plan_deployment(
        &mut self,
        target: &Target,
        deploy: &Deploy,
        would_run: &[Option<Arc<str>>],
    ) -> Option<Arc<str>> {
        let builds = |id: TargetId| {
            let number = self.plan.targets.iter().position(|other| *other == id);
            number.is_none_or(|number| would_run[number].is_some())
        };
        let built = deploy.image.is_none_or(|id| !builds(id));
        match deploy::plan(self.session, target, deploy, built) {
            Ok((deployment, plan)) => {
                let fresh = plan.is_fresh();
                self.listener.on(&Event::DeployPlanned {
                    deployment: Arc::new(deployment),
                    plan: Arc::new(plan),
                    open: !built,
                });
                (!fresh).then(|| Arc::clone(&target.address))
            }
            Err(fault) => {
                let finished = self.words(target).fault(fault);
                self.exit_code = finished.exit_with;
                self.counts.add(finished.outcome);
                self.listener.on(&Event::TargetFinished(Box::new(finished)));
                None
            }
        }
    }
}
