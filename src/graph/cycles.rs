//! Circles in a directed graph of plain numbers.

use std::collections::VecDeque;

/// One shortest circle of each knot: `[a, b]` for a → b → a, beginning with its smallest number.
/// `edges[a]` holds what `a` points to. Loops only, no recursion.
pub fn cycles(edges: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let component = components(edges);
    let mut size = vec![0usize; edges.len()];
    for id in &component {
        size[*id] += 1;
    }
    let mut seen = vec![false; edges.len()];
    // One for all knots: each writes only where its own nodes are.
    let mut came_from = vec![usize::MAX; edges.len()];
    let mut found = Vec::new();
    for (start, id) in component.iter().enumerate() {
        let knotted = size[*id] > 1 || edges[start].contains(&start);
        if knotted && !std::mem::replace(&mut seen[*id], true) {
            found.push(shortest(edges, &component, &mut came_from, start));
        }
    }
    found
}

/// The shortest way from `start` back to itself inside its component.
fn shortest(
    edges: &[Vec<usize>],
    component: &[usize],
    came_from: &mut [usize],
    start: usize,
) -> Vec<usize> {
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        for next in &edges[node] {
            if *next == start {
                return way(came_from, start, node);
            }
            if component[*next] == component[start] && came_from[*next] == usize::MAX {
                came_from[*next] = node;
                queue.push_back(*next);
            }
        }
    }
    vec![start]
}

fn way(came_from: &[usize], start: usize, end: usize) -> Vec<usize> {
    let mut path = vec![end];
    let mut node = end;
    while node != start {
        node = came_from[node];
        path.push(node);
    }
    path.reverse();
    path
}

/// Tarjan's strongly connected components: for each node the number of its own, which is the index of
/// one of its nodes.
fn components(edges: &[Vec<usize>]) -> Vec<usize> {
    const NEW: usize = usize::MAX;
    let n = edges.len();
    let (mut index, mut low, mut component) = (vec![NEW; n], vec![0; n], vec![NEW; n]);
    let (mut open, mut count) = (Vec::new(), 0);
    for root in 0..n {
        if index[root] != NEW {
            continue;
        }
        // A frame: a node, and how many of its edges were followed.
        let mut frames = vec![(root, 0)];
        while let Some((node, edge)) = frames.pop() {
            if edge == 0 {
                index[node] = count;
                low[node] = count;
                count += 1;
                open.push(node);
            }
            if let Some(next) = edges[node].get(edge).copied() {
                frames.push((node, edge + 1));
                if index[next] == NEW {
                    frames.push((next, 0));
                } else if component[next] == NEW {
                    low[node] = low[node].min(index[next]);
                }
                continue;
            }
            if low[node] == index[node] {
                close(&mut open, node, &mut component);
            }
            if let Some((parent, _)) = frames.last() {
                low[*parent] = low[*parent].min(low[node]);
            }
        }
    }
    component
}

/// Everything opened since `node` is one component.
fn close(open: &mut Vec<usize>, node: usize, component: &mut [usize]) {
    while let Some(member) = open.pop() {
        component[member] = node;
        if member == node {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_knot_gives_its_shortest_circle() {
        assert!(cycles(&[vec![1, 2], vec![2], vec![]]).is_empty());
        assert_eq!(cycles(&[vec![0]]), [vec![0]]);
        assert_eq!(cycles(&[vec![1], vec![2], vec![0]]), [vec![0, 1, 2]]);
        // 0 → 1 → 2 → 0 with the shortcut 1 → 0, and a second knot 3 ⇄ 4.
        let edges = [vec![1], vec![2, 0], vec![0], vec![4, 0], vec![3]];
        assert_eq!(cycles(&edges), [vec![0, 1], vec![3, 4]]);
    }

    #[test]
    fn a_circle_of_a_hundred_thousand_is_found() {
        let n = 100_000;
        let edges: Vec<Vec<usize>> = (0..n).map(|node| vec![(node + 1) % n]).collect();
        assert_eq!(cycles(&edges)[0].len(), n);
    }

    #[test]
    fn two_hundred_thousand_circles_are_found() {
        let n = 400_000;
        let edges: Vec<Vec<usize>> = (0..n).map(|node| vec![node ^ 1]).collect();
        assert_eq!(cycles(&edges).len(), n / 2);
    }
}
