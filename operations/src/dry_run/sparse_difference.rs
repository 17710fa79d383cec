//! The difference of the sparse vectors of a generation and of a pipeline file, in words.

use serde_json::Value;

/// The options of sparse vectors that differ; `None` is no sparse vectors.
pub(super) fn sparse_differences(was: Option<&Value>, is: Option<&Value>) -> Vec<String> {
    let (was, is) = match (was, is) {
        (Some(was), Some(is)) => (was, is),
        (Some(_), None) => return vec!["there are no sparse vectors any more".to_owned()],
        (None, Some(_)) => return vec!["there were no sparse vectors".to_owned()],
        (None, None) => return Vec::new(),
    };
    let version = |options: &Value| options["version"].clone();
    if version(was) != version(is) {
        let (was, is) = (version(was), version(is));
        return vec![format!("the version of the sparse vectors was {was} and is now {is}")];
    }
    let mut words = Vec::new();
    compare("", was, is, &mut words);
    words
}

fn compare(name: &str, was: &Value, is: &Value, words: &mut Vec<String>) {
    if let (Value::Object(before), Value::Object(now)) = (was, is) {
        for (key, now) in now {
            let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
            compare(&name, before.get(key).unwrap_or(&Value::Null), now, words);
        }
    } else if was != is {
        words.push(format!("`{name}` of the sparse vectors was {was} and is now {is}"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_told_by_option() {
        let options = |k1: f64, weight: f64| {
            let fields = json!({ "title": { "weight": weight } });
            json!({ "version": 2, "k1": k1, "fields": fields })
        };
        let usual = options(1.2, 1.0);
        let former = json!({ "version": 1, "k1": 1.2 });
        let words = [
            sparse_differences(Some(&usual), Some(&options(2.0, 0.5))),
            sparse_differences(Some(&former), Some(&usual)),
            sparse_differences(None, Some(&former)),
            sparse_differences(Some(&former), None),
            sparse_differences(Some(&former), Some(&former)),
        ];
        assert_eq!(
            words.concat(),
            [
                "`fields.title.weight` of the sparse vectors was 1.0 and is now 0.5",
                "`k1` of the sparse vectors was 1.2 and is now 2.0",
                "the version of the sparse vectors was 1 and is now 2",
                "there were no sparse vectors",
                "there are no sparse vectors any more",
            ]
        );
    }
}
