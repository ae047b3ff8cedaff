//! Reads the text of OpenMetrics. A line that it cannot read is left out: what is sent is never made up.

/// The series of one name.
#[derive(Debug, PartialEq)]
pub(super) struct Family<'a> {
    pub(super) name: &'a str,
    pub(super) kind: Kind,
    /// Empty when it has none.
    pub(super) unit: &'a str,
    pub(super) help: &'a str,
    pub(super) samples: Vec<Sample<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Other,
}

/// One line with a number.
#[derive(Debug, PartialEq)]
pub(super) struct Sample<'a> {
    /// What its name has beyond the family's.
    pub(super) suffix: &'a str,
    pub(super) labels: Vec<(&'a str, String)>,
    pub(super) value: f64,
}

/// All families, in their order.
pub(super) fn families(text: &str) -> Vec<Family<'_>> {
    let mut families: Vec<Family<'_>> = Vec::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            describe(&mut families, comment);
        } else if let Some(family) = families.last_mut() {
            let sample = line.strip_prefix(family.name).and_then(sample);
            family.samples.extend(sample);
        }
    }
    families
}

/// The first line about a name begins its family.
fn describe<'a>(families: &mut Vec<Family<'a>>, comment: &'a str) {
    let mut words = comment.splitn(3, ' ');
    let (Some(what), Some(name)) = (words.next(), words.next()) else {
        return;
    };
    if families.last().is_none_or(|family| family.name != name) {
        families.push(Family {
            name,
            kind: Kind::Other,
            unit: "",
            help: "",
            samples: Vec::new(),
        });
    }
    let (Some(family), said) = (families.last_mut(), words.next().unwrap_or_default()) else {
        return;
    };
    match what {
        "HELP" => family.help = said,
        "UNIT" => family.unit = said,
        "TYPE" => {
            family.kind = match said {
                "counter" => Kind::Counter,
                "gauge" => Kind::Gauge,
                "histogram" => Kind::Histogram,
                _ => Kind::Other,
            }
        }
        _ => {}
    }
}

/// Reads a line after the family's name: `_suffix{label="value"} number`, perhaps with an exemplar behind it.
fn sample(rest: &str) -> Option<Sample<'_>> {
    let end = rest.find(['{', ' '])?;
    let (suffix, rest) = rest.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { suffix, labels, value })
}

/// Reads labels up to the closing brace, and returns what follows.
fn labels(mut rest: &str) -> Option<(Vec<(&str, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let (value, after) = unquoted(quoted)?;
        labels.push((name, value));
        rest = after.strip_prefix(',').unwrap_or(after);
    }
}

/// Reads up to the closing quote, and returns what follows.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((index, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[index + 1..])),
            '\\' => value.push(match letters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            letter => value.push(letter),
        }
    }
    None
}
