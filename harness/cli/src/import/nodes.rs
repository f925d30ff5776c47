//! Services that are alike, as one template of a node.
//!
//! Each has its own name where the others have theirs, so that what differs between them is the
//! name, the number, or a text of all: `db1=http://db1:2380,db2=http://db2:2380` is a list.

use super::draft::{List, literal};

/// What stands at one place in each of the services, in their order.
pub type Texts<'a> = &'a [String];

/// Makes templates of texts, and collects the lists that they need.
pub struct Alike<'a> {
    /// What the nodes are called in the file.
    pub names: &'a [String],
    pub lists: Vec<List>,
}

impl Alike<'_> {
    /// One template that gives every service its text; none if there is no such.
    pub fn template(&mut self, texts: Texts<'_>) -> Option<String> {
        let first = texts.first()?;
        if texts.len() != self.names.len() {
            return None;
        }
        if self.names.len() == 1 {
            return Some(self.with_name(first, 0, false));
        }
        if (1..)
            .zip(texts)
            .all(|(number, text)| *text == number.to_string())
        {
            return Some("{index}".into());
        }
        if let Some(found) = self.list(first, texts) {
            return Some(found);
        }
        // First as if only the own name mattered, then with a name for the first node too, which
        // the others may be told to join.
        [false, true].into_iter().find_map(|join| {
            let mut all = (0..)
                .zip(texts)
                .map(|(at, text)| self.with_name(text, at, join));
            let template = all.next()?;
            all.all(|other| other == template).then_some(template)
        })
    }

    /// A text of the others alone, such as what only they are told to join.
    pub fn of_others(&self, texts: Texts<'_>) -> Option<String> {
        let mut all = (1..)
            .zip(texts)
            .map(|(at, text)| self.with_name(text, at, true));
        let template = all.next()?;
        all.all(|other| other == template).then_some(template)
    }

    /// The own name as `{name}`, which is a host's name in the lab too.
    pub fn with_name(&self, text: &str, at: usize, join: bool) -> String {
        let text = literal(text);
        let text = match join {
            true => replace_word(&text, &self.names[0], "{first}"),
            false => text,
        };
        replace_word(&text, &self.names[at], "{name}")
    }

    /// A text that ends in one part for each node, or for each other node.
    fn list(&mut self, first: &str, texts: Texts<'_>) -> Option<String> {
        for separator in [",", ";", " "] {
            let parts: Vec<&str> = first.split(separator).collect();
            let others = parts.len() + 1 == self.names.len();
            if parts.len() != self.names.len() && !others || parts.len() < 2 {
                continue;
            }
            let named = &self.names[usize::from(others)..];
            let each = replace_word(&literal(parts[1]), &named[1], "{name}");
            let fits = |(part, name): (&&str, &String)| {
                replace_word(&literal(part), name, "{name}") == each
            };
            if !each.contains("{name}") || !parts.iter().zip(named).skip(1).all(fits) {
                continue;
            }
            let head = replace_word(&literal(parts[0]), &named[0], "{name}");
            let Some(before) = head.strip_suffix(&each) else {
                continue;
            };
            // Everybody must say the same: the whole list, or all but himself.
            let said = |at: usize| {
                let named = self.names.iter().enumerate();
                let named = named.filter(|(other, _)| !others || *other != at);
                let parts: Vec<_> = named
                    .map(|(_, name)| each.replace("{name}", name))
                    .collect();
                format!(
                    "{}{}",
                    before.replace("{name}", &self.names[at]),
                    parts.join(separator)
                )
            };
            if (0..texts.len()).any(|at| said(at) != literal(&texts[at])) {
                continue;
            }
            let before = before.to_string();
            let name = self.list_name(List {
                name: String::new(),
                each,
                separator: separator.into(),
                others,
            });
            return Some(format!("{before}{{list.{name}}}"));
        }
        None
    }

    /// The name of such a list: that of an earlier one that is the same, or a new one.
    fn list_name(&mut self, list: List) -> String {
        let same = |known: &&List| {
            List {
                name: String::new(),
                ..clone(known)
            } == list
        };
        if let Some(known) = self.lists.iter().find(same) {
            return known.name.clone();
        }
        let name = match (list.others, self.lists.len()) {
            (false, 0) => "nodes".to_string(),
            (true, 0) => "others".to_string(),
            (_, n) => format!("nodes-{}", n + 1),
        };
        self.lists.push(List {
            name: name.clone(),
            ..list
        });
        name
    }
}

fn clone(list: &List) -> List {
    List {
        name: list.name.clone(),
        each: list.each.clone(),
        separator: list.separator.clone(),
        others: list.others,
    }
}

/// Replaces a name where it stands as a word of its own.
fn replace_word(text: &str, name: &str, by: &str) -> String {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(name) {
        let (before, after) = (&rest[..at], &rest[at + name.len()..]);
        let so_far = out.chars().last().filter(|_| before.is_empty());
        let left = before.chars().last().or(so_far);
        let whole = !left.is_some_and(part) && !after.starts_with(part);
        out.push_str(before);
        out.push_str(if whole { by } else { name });
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| text.to_string()).collect()
    }

    fn template(names: &[&str], all: &[&str]) -> (Option<String>, Vec<List>) {
        let names = texts(names);
        let mut alike = Alike {
            names: &names,
            lists: Vec::new(),
        };
        (alike.template(&texts(all)), alike.lists)
    }

    fn plain(names: &[&str], all: &[&str]) -> Option<String> {
        let (template, lists) = template(names, all);
        assert_eq!(lists, []);
        template
    }

    #[test]
    fn what_differs_is_the_name_or_the_number() {
        let three = ["db1", "db2", "db3"];
        let some = |text: &str| Some(text.to_string());
        assert_eq!(
            plain(&three, &["--name=db1", "--name=db2", "--name=db3"]),
            some("--name={name}")
        );
        assert_eq!(plain(&three, &["1", "2", "3"]), some("{index}"));
        assert_eq!(plain(&three, &["x{y}", "x{y}", "x{y}"]), some("x{{y}"));
        assert_eq!(plain(&three, &["5", "2", "3"]), None);
        assert_eq!(plain(&three, &["a", "a"]), None);
        assert_eq!(plain(&three, &["--join=db1"; 3]), some("--join={first}"));
        assert_eq!(plain(&three, &["db2:1", "db2:1", "db2:1"]), None);
        assert_eq!(
            plain(&["db"], &["http://db:80/mydb"]),
            some("http://{name}:80/mydb")
        );
    }

    #[test]
    fn a_text_of_all_is_a_list() {
        let three = ["db1", "db2", "db3"];
        let all = "--peers=db1=http://db1:2380,db2=http://db2:2380,db3=http://db3:2380";
        let (found, lists) = template(&three, &[all; 3]);
        assert_eq!(found.as_deref(), Some("--peers={list.nodes}"));
        let list = |name: &str, each: &str, separator: &str, others| List {
            name: name.into(),
            each: each.into(),
            separator: separator.into(),
            others,
        };
        assert_eq!(
            lists,
            [list("nodes", "{name}=http://{name}:2380", ",", false)]
        );
        let (found, lists) = template(&three, &["db2:1 db3:1", "db1:1 db3:1", "db1:1 db2:1"]);
        assert_eq!(found.as_deref(), Some("{list.others}"));
        assert_eq!(lists, [list("others", "{name}:1", " ", true)]);
        // Two of three, the same everywhere, are no list of ours.
        let (found, _) = template(&three, &["db2:1 db3:1"; 3]);
        assert_eq!(found, None);
    }

    #[test]
    fn a_name_is_a_word() {
        assert_eq!(
            replace_word("db1 db10 xdb1 db1:db1", "db1", "N"),
            "N db10 xdb1 N:N"
        );
        assert_eq!(replace_word("db1db1", "db1", "N"), "db1db1");
    }
}
