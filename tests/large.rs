//! Workspaces in which a walk of each target through all others doesn't end while anybody waits, a way for each path
//! never, and a step deeper for each target leaves the stack.

#[path = "support/run.rs"]
mod run;

use run::Workspace;

/// As a list of names in a pipeline file.
fn names(names: impl Iterator<Item = String>) -> String {
    names.map(|name| format!("\"{name}\", ")).collect()
}

/// All commands that read the graph end well.
fn everything_is_told(workspace: &Workspace, targets: usize, word: &str) {
    let checked = format!("{targets} targets: no errors");
    assert!(
        workspace
            .forge(&["check"])
            .code(0)
            .stdout
            .contains(&checked)
    );
    let listed = workspace.forge(&["list"]).code(0).stdout.lines().count();
    assert_eq!(listed, targets);
    for format in ["text", "dot", "json"] {
        workspace
            .forge(&["graph", word, "--format", format])
            .code(0);
    }
    workspace.forge(&["why", word]).code(0);
    workspace.forge(&["clean", "-n", word]).code(0);
}

#[test]
fn rows_that_need_the_row_before() {
    const ROW: usize = 100;
    let count: usize = 20_000;
    let mut text = format!(
        "[pipeline]\nname = \"rows\"\ndefault = [{}]\n",
        names((count - ROW..count).map(|last| format!("t{last}")))
    );
    for target in 0..count {
        let above = target.checked_sub(ROW);
        let above = above.map(|above| [above, above / ROW * ROW + (above * 7 + 1) % ROW]);
        let needs = names(above.into_iter().flatten().map(|need| format!("t{need}")));
        text += &format!("[target.t{target}]\nrun = \"true\"\ninputs = []\nneeds = [{needs}]\n");
    }
    let workspace = Workspace::new(&text);
    workspace.forge(&["-n"]).code(0).says("20000 would run");
    everything_is_told(&workspace, count, "t19999");
}

#[test]
fn a_chain_whose_links_are_all_named_and_followed_and_in_a_group() {
    // Nothing runs, as nothing may: a run of 20,000 processes would show no more.
    let count: usize = 20_000;
    let all = names((0..count).map(|link| format!("t{link}")));
    let mut text = format!(
        "[pipeline]\nname = \"chain\"\ndefault = [{all}]\n[target.all]\nneeds = [{all}]\n\
         [target.end]\nrun = \"true\"\nwhen = {{ os = \"none\" }}\n"
    );
    for link in 0..count {
        let need = link.checked_sub(1).map(|need| format!("t{need}"));
        text += &format!(
            "[service.s{link}]\nrun = \"true\"\n[target.t{link}]\nrun = \"true\"\nwhen = {{ os = \"none\" }}\n\
             needs = [{}]\nfinally = [\"end\"]\nservices = [\"s{link}\"]\nlocks = [\"one\"]\n\
             inputs = [\"in/{link}/*\"]\noutputs = [\"in/{link}/out\"]\n",
            names(need.into_iter())
        );
    }
    let workspace = Workspace::new(&text);
    workspace.forge(&["all"]).code(0).says("20001 skipped");
    everything_is_told(&workspace, count + 2, "all");
}

#[test]
fn groups_that_all_need_all_of_the_row_before() {
    // Twenty to the thirtieth ways lead to the bottom.
    let mut text = String::new();
    let row = |level: usize| names((0..20).map(move |column| format!("g{level}-{column}")));
    for level in 0..30 {
        for column in 0..20 {
            text += &format!("[target.g{level}-{column}]\n");
            text += &match level {
                0 => "run = \"true\"\ninputs = []\n".to_owned(),
                level => format!("needs = [{}]\n", row(level - 1)),
            };
        }
    }
    text += &format!(
        "[target.top]\nrun = \"true\"\ninputs = []\nneeds = [{}]\n",
        row(29)
    );
    let workspace = Workspace::new(&text);
    workspace.forge(&["top"]).code(0).says("21 ran");
    workspace.forge(&["top"]).code(0).says("21 fresh");
    everything_is_told(&workspace, 601, "top");
}
