//! Which target may go on, decided from nothing but the graph and what has ended.
//!
//! No threads, no clocks, no targets: nodes are numbers. The coordinator asks [`Scheduler::step`] until there is
//! nothing to do, and tells [`Scheduler::finish`] what became of each. The states of a node are drawn
//! in `docs/design.md`.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::event::Outcome;

/// A node of the plan.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// End before it, and must succeed (or be skipped by their own condition).
    pub needs: Vec<usize>,
    /// It runs after these, whatever became of them: it is their `finally`.
    pub follows: Vec<usize>,
    /// Nodes with a common lock never run together.
    pub locks: Vec<String>,
    /// Runs with nothing beside it.
    pub alone: bool,
    /// The run is about it, whatever else needs it.
    pub selected: bool,
    /// Stands for its needs: has nothing to do itself.
    pub group: bool,
    /// Its condition isn't met: it counts as done for those that need it.
    pub unmet: Option<String>,
}

/// What the coordinator does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Everything before it has ended: see whether there is anything to do.
    Look(usize),
    /// It has something to do and its turn: start it.
    Start(usize),
    /// It won't run.
    Skip(usize, String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// For so many others.
    Waiting(usize),
    Looking,
    /// For a place among the running.
    Queued,
    Running,
    /// `good`: those that need it may go on.
    Done {
        good: bool,
    },
}

/// Hands out nodes.
pub struct Scheduler {
    nodes: Vec<Node>,
    /// Who waits for a node, and whether it minds how that ended.
    dependents: Vec<Vec<(usize, bool)>>,
    states: Vec<State>,
    /// The need that failed, for those that wait in vain.
    doomed: Vec<Option<usize>>,
    /// A `finally` node or what one needs, and nothing else needs it.
    only_cleanup: Vec<bool>,
    /// It follows something that was started, or is needed by what does: it runs even when the run was stopped.
    wanted: Vec<bool>,
    ready: BTreeSet<usize>,
    queue: BTreeSet<usize>,
    /// Out of the queue until a lock is free, by lock. When it is, the first of them goes back for all.
    barred: HashMap<String, BTreeSet<usize>>,
    running: usize,
    slots: usize,
    locked: HashSet<String>,
    alone: bool,
    keep_going: bool,
    stop: Option<String>,
    left: usize,
}

impl Scheduler {
    /// `slots` nodes run at most at once. Nodes are numbered in an order in which needs come first.
    pub fn new(nodes: Vec<Node>, slots: usize, keep_going: bool) -> Self {
        let mut dependents = vec![Vec::new(); nodes.len()];
        let mut states = Vec::with_capacity(nodes.len());
        for (number, node) in nodes.iter().enumerate() {
            node.needs
                .iter()
                .for_each(|&need| dependents[need].push((number, true)));
            node.follows
                .iter()
                .for_each(|&before| dependents[before].push((number, false)));
            states.push(State::Waiting(node.needs.len() + node.follows.len()));
        }
        let free = |number: &usize| states[*number] == State::Waiting(0);
        Self {
            ready: (0..nodes.len()).filter(free).collect(),
            only_cleanup: only_cleanup(&nodes),
            doomed: vec![None; nodes.len()],
            wanted: vec![false; nodes.len()],
            left: nodes.len(),
            queue: BTreeSet::new(),
            barred: HashMap::new(),
            running: 0,
            slots: slots.max(1),
            locked: HashSet::new(),
            alone: false,
            keep_going,
            stop: None,
            dependents,
            states,
            nodes,
        }
    }

    /// What can be done now; none until something that was handed out ends.
    pub fn step(&mut self) -> Option<Step> {
        if let Some(number) = self.ready.pop_first() {
            if let Some(reason) = self.reason_to_skip(number) {
                return Some(Step::Skip(number, reason));
            }
            self.states[number] = State::Looking;
            return Some(Step::Look(number));
        }
        let number = self.next_in_queue()?;
        self.queue.remove(&number);
        self.states[number] = State::Running;
        self.want_what_follows(number);
        self.running += 1;
        self.alone = self.nodes[number].alone;
        self.locked.extend(self.nodes[number].locks.iter().cloned());
        Some(Step::Start(number))
    }

    /// The first that can start now. Those that a lock keeps back leave the queue, so that they aren't looked at again
    /// each time that any other ends.
    fn next_in_queue(&mut self) -> Option<usize> {
        if self.running >= self.slots || self.alone {
            return None;
        }
        loop {
            let (nodes, running) = (&self.nodes, self.running);
            let may = |number: &&usize| !nodes[**number].alone || running == 0;
            let number = *self.queue.iter().find(may)?;
            let locks = &self.nodes[number].locks;
            let Some(lock) = locks.iter().find(|lock| self.locked.contains(*lock)) else {
                return Some(number);
            };
            self.barred.entry(lock.clone()).or_default().insert(number);
            self.queue.remove(&number);
            // It came back for those that wait for its other locks: another one does now.
            self.admit(number);
        }
    }

    /// Those of a node's locks that are free: the first that waits for one goes back to the queue.
    fn admit(&mut self, number: usize) {
        for lock in &self.nodes[number].locks {
            if !self.locked.contains(lock)
                && let Some(barred) = self.barred.get_mut(lock)
            {
                self.queue.extend(barred.pop_first());
            }
        }
    }

    fn reason_to_skip(&self, number: usize) -> Option<String> {
        if let Some(reason) = &self.nodes[number].unmet {
            return Some(reason.clone());
        }
        if let Some(need) = self.doomed[number] {
            return Some(format!("\0{need}"));
        }
        self.is_stopped(number)
            .then(|| self.stop.clone().unwrap_or_default())
    }

    /// After the stop only clean-up of what was started goes on.
    fn is_stopped(&self, number: usize) -> bool {
        self.stop.is_some() && !self.wanted[number]
    }

    fn want_what_follows(&mut self, number: usize) {
        let dependents = self.dependents[number].iter();
        let follow = dependents.filter(|(_, minds)| !minds);
        let mut open: Vec<usize> = follow.map(|(dependent, _)| *dependent).collect();
        while let Some(number) = open.pop() {
            if !std::mem::replace(&mut self.wanted[number], true) {
                open.extend(&self.nodes[number].needs);
            }
        }
    }

    /// Whether a node that starts now cleans up, and so isn't ended when the run is interrupted: it is there for
    /// `finally` alone, or goes on after a stop.
    pub fn cleans_up(&self, number: usize) -> bool {
        self.stop.is_some() || self.only_cleanup[number]
    }

    /// A node that was looked at has something to do.
    pub fn queue(&mut self, number: usize) {
        self.states[number] = State::Queued;
        match self.is_stopped(number) {
            true => self.ready.insert(number),
            false => self.queue.insert(number),
        };
    }

    /// A node ended: after a look, a start or a skip.
    pub fn finish(&mut self, number: usize, outcome: Outcome) {
        if self.states[number] == State::Running {
            self.running -= 1;
            self.alone = false;
            for lock in &self.nodes[number].locks {
                self.locked.remove(lock);
            }
            self.admit(number);
        }
        let good = outcome.is_success()
            || (outcome == Outcome::Skipped && self.nodes[number].unmet.is_some());
        self.states[number] = State::Done { good };
        self.left -= 1;
        if outcome == Outcome::Failed && !self.keep_going && self.stop.is_none() {
            self.stop(&format!("\0{number}"));
        }
        for (dependent, minds) in std::mem::take(&mut self.dependents[number]) {
            if minds && !good {
                self.doomed[dependent].get_or_insert(number);
            }
            if let State::Waiting(others) = &mut self.states[dependent] {
                *others -= 1;
                if *others == 0 {
                    self.ready.insert(dependent);
                }
            }
        }
    }

    /// Nothing more is started, but for what cleans up after what was.
    pub fn stop(&mut self, reason: &str) {
        self.stop = Some(reason.to_owned());
        let barred = std::mem::take(&mut self.barred).into_values().flatten();
        let waiting = std::mem::take(&mut self.queue).into_iter().chain(barred);
        let (wanted, stopped): (Vec<_>, Vec<_>) = waiting.partition(|&number| self.wanted[number]);
        self.queue.extend(wanted);
        // The next steps skip them.
        self.ready.extend(stopped);
    }

    pub fn is_done(&self) -> bool {
        self.left == 0
    }
}

/// The `finally` nodes and everything that they alone need.
fn cleanup(nodes: &[Node]) -> Vec<bool> {
    let mut cleanup: Vec<bool> = nodes.iter().map(|node| !node.follows.is_empty()).collect();
    for number in (0..nodes.len()).rev() {
        if cleanup[number] {
            nodes[number]
                .needs
                .iter()
                .for_each(|&need| cleanup[need] = true);
        }
    }
    cleanup
}

/// The same without what the rest of the run needs too.
fn only_cleanup(nodes: &[Node]) -> Vec<bool> {
    let mut only = cleanup(nodes);
    for number in (0..nodes.len()).rev() {
        only[number] &= !nodes[number].selected;
        if !only[number] {
            nodes[number]
                .needs
                .iter()
                .for_each(|&need| only[need] = false);
        }
    }
    only
}

/// A reason that names a node (`\0` and its number) is the scheduler's way of leaving the words to whoever knows names.
pub fn blamed(reason: &str) -> Option<usize> {
    reason.strip_prefix('\0')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// So many that nobody waits for the end of anything that takes their square, or a frame of the stack for each.
    const MANY: usize = 100_000;

    #[derive(Clone, Debug)]
    struct World {
        nodes: Vec<Node>,
        fails: Vec<bool>,
        slots: usize,
        keep_going: bool,
    }

    /// Runs it all, one end at a time in the order given by `picks`; the log of starts and the outcomes.
    fn play(world: &World, picks: &[usize]) -> (Vec<usize>, Vec<Outcome>) {
        let mut scheduler = Scheduler::new(world.nodes.clone(), world.slots, world.keep_going);
        let mut outcomes: Vec<Option<Outcome>> = vec![None; world.nodes.len()];
        let mut queued = HashSet::new();
        let (mut started, mut running, mut pick) =
            (Vec::new(), Vec::<usize>::new(), picks.iter().cycle());
        while !scheduler.is_done() {
            match scheduler.step() {
                Some(Step::Look(number)) if world.nodes[number].group => {
                    outcomes[number] = Some(Outcome::Fresh);
                    scheduler.finish(number, Outcome::Fresh);
                }
                Some(Step::Look(number)) => {
                    queued.insert(number);
                    scheduler.queue(number);
                }
                Some(Step::Skip(number, _)) => {
                    queued.remove(&number);
                    outcomes[number] = Some(Outcome::Skipped);
                    scheduler.finish(number, Outcome::Skipped);
                }
                Some(Step::Start(number)) => {
                    check_start(world, number, &outcomes, &running);
                    queued.remove(&number);
                    started.push(number);
                    running.push(number);
                }
                None => {
                    assert!(
                        !running.is_empty(),
                        "nothing runs and nothing can: a deadlock"
                    );
                    if world.nodes.len() < MANY {
                        let idle = queued.iter().find(|&&number| fits(world, number, &running));
                        assert_eq!(idle, None, "it could run, and doesn't");
                    }
                    let number = running.remove(pick.next().copied().unwrap_or(0) % running.len());
                    let outcome = if world.fails[number] {
                        Outcome::Failed
                    } else {
                        Outcome::Ran
                    };
                    outcomes[number] = Some(outcome);
                    scheduler.finish(number, outcome);
                }
            }
        }
        (started, outcomes.into_iter().flatten().collect())
    }

    fn check_start(world: &World, number: usize, outcomes: &[Option<Outcome>], running: &[usize]) {
        let node = &world.nodes[number];
        assert!(outcomes[number].is_none(), "{number} ran twice");
        for &need in &node.needs {
            let unmet = world.nodes[need].unmet.is_some();
            assert!(
                unmet || outcomes[need].is_some_and(Outcome::is_success),
                "{number} started before {need}"
            );
        }
        assert!(
            node.follows
                .iter()
                .all(|&before| outcomes[before].is_some())
        );
        assert!(fits(world, number, running));
    }

    /// Whether there is room for one more beside these.
    fn fits(world: &World, number: usize, running: &[usize]) -> bool {
        let node = &world.nodes[number];
        let beside = |other: &usize| {
            let other = &world.nodes[*other];
            let shared = other.locks.iter().any(|lock| node.locks.contains(lock));
            !shared && !other.alone && !node.alone
        };
        running.len() < world.slots && running.iter().all(beside)
    }

    fn any_world() -> impl Strategy<Value = World> {
        let node = (any::<u32>(), 0..20u8, 0..20u8, 0..12u8);
        (
            proptest::collection::vec(node, 1..24),
            1..5usize,
            any::<bool>(),
        )
            .prop_map(|(seeds, slots, keep_going)| {
                let mut nodes: Vec<Node> = Vec::new();
                let mut fails = Vec::new();
                for (number, (needs, odd, lock, kind)) in seeds.into_iter().enumerate() {
                    let before = |bits: u32| {
                        (0..number)
                            .filter(move |other| bits >> (other % 32) & 1 == 1 && other % 3 == 0)
                    };
                    let node = Node {
                        needs: before(needs).collect(),
                        follows: if odd == 0 {
                            before(!needs).take(1).collect()
                        } else {
                            Vec::new()
                        },
                        // Most are without any, others have up to three.
                        locks: (0..3)
                            .filter(|bit| lock < 8 && lock >> bit & 1 == 1)
                            .map(|bit| format!("lock-{bit}"))
                            .collect(),
                        alone: kind == 0,
                        group: kind == 1,
                        ..Node::default()
                    };
                    fails.push(kind == 2 && !node.group);
                    nodes.push(node);
                }
                World {
                    nodes,
                    fails,
                    slots,
                    keep_going,
                }
            })
    }

    proptest! {
        #[test]
        fn needs_come_first_locks_hold_and_everything_ends(world in any_world(), picks in proptest::collection::vec(any::<usize>(), 1..30)) {
            let (started, outcomes) = play(&world, &picks);
            prop_assert_eq!(outcomes.len(), world.nodes.len());
            prop_assert_eq!(started.iter().collect::<HashSet<_>>().len(), started.len());
        }

        #[test]
        fn keep_going_runs_exactly_what_depends_on_no_failure(mut world in any_world(), picks in proptest::collection::vec(any::<usize>(), 1..30)) {
            world.keep_going = true;
            let (started, _) = play(&world, &picks);
            let mut good: Vec<bool> = Vec::new();
            for (number, node) in world.nodes.iter().enumerate() {
                let reached = node.needs.iter().all(|&need| good[need]);
                good.push(reached && !world.fails[number]);
                prop_assert_eq!(started.contains(&number), reached && !node.group);
            }
        }
    }

    #[test]
    fn a_need_skipped_by_its_condition_counts_as_done() {
        let unmet = Node {
            unmet: Some("when".into()),
            ..Node::default()
        };
        let needs = Node {
            needs: vec![0],
            ..Node::default()
        };
        let world = World {
            nodes: vec![unmet, needs],
            fails: vec![false; 2],
            slots: 1,
            keep_going: false,
        };
        assert_eq!(play(&world, &[0]).1, [Outcome::Skipped, Outcome::Ran]);
    }

    #[test]
    fn finally_runs_after_a_failure_and_after_a_stop() {
        let nodes = vec![
            Node::default(),
            Node {
                follows: vec![0],
                ..Node::default()
            },
            Node::default(),
        ];
        let world = World {
            nodes,
            fails: vec![true, false, false],
            slots: 1,
            keep_going: false,
        };
        assert_eq!(
            play(&world, &[0]).1,
            [Outcome::Failed, Outcome::Ran, Outcome::Skipped]
        );
    }

    fn world(nodes: Vec<Node>, slots: usize) -> World {
        World {
            fails: vec![false; nodes.len()],
            nodes,
            slots,
            keep_going: false,
        }
    }

    #[test]
    fn many_may_wait_for_a_place() {
        let world = world(vec![Node::default(); MANY], 1);
        assert_eq!(play(&world, &[0]).0.len(), MANY);
    }

    #[test]
    fn many_may_wait_for_a_lock() {
        let locked = Node {
            locks: vec!["one".into()],
            ..Node::default()
        };
        let world = world(vec![locked; MANY], 4);
        assert_eq!(play(&world, &[0]).0.len(), MANY);
    }

    #[test]
    fn a_long_way_to_the_end_is_gone_after_a_stop() {
        // What fails, a chain, and what follows the first and needs the last.
        let mut nodes = vec![Node::default(); 2];
        nodes.extend((1..MANY).map(|before| Node {
            needs: vec![before],
            ..Node::default()
        }));
        nodes.push(Node {
            needs: vec![MANY],
            follows: vec![0],
            ..Node::default()
        });
        let mut world = world(nodes, 1);
        world.fails[0] = true;
        assert_eq!(play(&world, &[0]).0.len(), MANY + 2);
    }
}
