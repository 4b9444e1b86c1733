//! What differs between two states, as a unified difference of lines: part of the messages about forbidden changes.

use triune_api::Value;

use crate::kinds::shown::pretty;

/// Lines around a change.
const CONTEXT_LINES: usize = 3;

/// Of two pod specs.
pub fn of_specs(before: &Value, after: &Value) -> String {
    unified(&pretty("PodSpec", before), &pretty("PodSpec", after))
}

/// Of two ephemeral containers.
pub fn of_ephemeral_containers(before: &Value, after: &Value) -> String {
    unified(&pretty("EphemeralContainer", before), &pretty("EphemeralContainer", after))
}

/// A line of the one, of the other, or of both.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Both,
    Before,
    After,
}

/// A unified difference of two texts, empty if they are equal.
pub fn unified(before: &str, after: &str) -> String {
    let before: Vec<&str> = before.lines().collect();
    let after: Vec<&str> = after.lines().collect();
    let script = script(&before, &after);
    let mut out = String::new();
    let mut at = 0;
    while let Some(first) = (at..script.len()).find(|index| script[*index].0 != Side::Both) {
        let start = first.saturating_sub(CONTEXT_LINES).max(at);
        let mut last = first;
        while let Some(next) = (last + 1..script.len()).find(|index| script[*index].0 != Side::Both) {
            if next - last > 2 * CONTEXT_LINES {
                break;
            }
            last = next;
        }
        let end = (last + CONTEXT_LINES + 1).min(script.len());
        hunk(&mut out, &script, start, end);
        at = end;
    }
    out
}

fn hunk(out: &mut String, script: &[(Side, &str)], start: usize, end: usize) {
    let range = |skipped: Side| {
        let count = |lines: &[(Side, &str)]| lines.iter().filter(|(side, _)| *side != skipped).count();
        let (first, length) = (count(&script[..start]) + 1, count(&script[start..end]));
        match length {
            0 => format!("{},0", first - 1),
            1 => first.to_string(),
            _ => format!("{first},{length}"),
        }
    };
    out.push_str(&format!("@@ -{} +{} @@\n", range(Side::After), range(Side::Before)));
    for (side, line) in &script[start..end] {
        out.push(match side {
            Side::Both => ' ',
            Side::Before => '-',
            Side::After => '+',
        });
        out.push_str(line);
        out.push('\n');
    }
}

/// The shortest way from one text to the other. Equal starts and ends are set aside first: what is left of two pod specs
/// is small.
fn script<'a>(before: &[&'a str], after: &[&'a str]) -> Vec<(Side, &'a str)> {
    let same_start = before.iter().zip(after).take_while(|(one, other)| one == other).count();
    let (rest_before, rest_after) = (&before[same_start..], &after[same_start..]);
    let same_end =
        rest_before.iter().rev().zip(rest_after.iter().rev()).take_while(|(one, other)| one == other).count();
    let middle_before = &rest_before[..rest_before.len() - same_end];
    let middle_after = &rest_after[..rest_after.len() - same_end];
    let mut script: Vec<(Side, &str)> = before[..same_start].iter().map(|line| (Side::Both, *line)).collect();
    middle(middle_before, middle_after, &mut script);
    script.extend(before[before.len() - same_end..].iter().map(|line| (Side::Both, *line)));
    script
}

/// Cells of the table of common lines; larger middles are told as removed and added whole.
const CELLS_MAX: usize = 4_000_000;

fn middle<'a>(before: &[&'a str], after: &[&'a str], script: &mut Vec<(Side, &'a str)>) {
    let (rows, columns) = (before.len() + 1, after.len() + 1);
    if rows * columns > CELLS_MAX {
        script.extend(before.iter().map(|line| (Side::Before, *line)));
        script.extend(after.iter().map(|line| (Side::After, *line)));
        return;
    }
    let mut common = vec![0_u32; rows * columns];
    for row in (0..before.len()).rev() {
        for column in (0..after.len()).rev() {
            common[row * columns + column] = if before[row] == after[column] {
                common[(row + 1) * columns + column + 1] + 1
            } else {
                common[(row + 1) * columns + column].max(common[row * columns + column + 1])
            };
        }
    }
    let (mut row, mut column) = (0, 0);
    while row < before.len() || column < after.len() {
        if row < before.len() && column < after.len() && before[row] == after[column] {
            script.push((Side::Both, before[row]));
            (row, column) = (row + 1, column + 1);
        } else if column == after.len()
            || (row < before.len() && common[(row + 1) * columns + column] >= common[row * columns + column + 1])
        {
            script.push((Side::Before, before[row]));
            row += 1;
        } else {
            script.push((Side::After, after[column]));
            column += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_come_with_lines_around_them() {
        let check = |before: &str, after: &str, expected: &str| assert_eq!(unified(before, after), expected);
        check("a\nb", "a\nb", "");
        check("a\nb\nc\nd\ne\nf", "a\nb\nc\nd\nE\nf", "@@ -2,5 +2,5 @@\n b\n c\n d\n-e\n+E\n f\n");
        check("a", "a\nb", "@@ -1 +1,2 @@\n a\n+b\n");
        check(
            "1\n2\n3\n4\n5\n6\n7\n8\n9",
            "one\n2\n3\n4\n5\n6\n7\n8\nnine",
            "@@ -1,4 +1,4 @@\n-1\n+one\n 2\n 3\n 4\n@@ -6,4 +6,4 @@\n 6\n 7\n 8\n-9\n+nine\n",
        );
    }
}
