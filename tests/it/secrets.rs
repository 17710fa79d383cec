//! A password reaches no log, error, report, metric or table.

use sinks::EmbeddedPostgres;

use crate::support::{Place, command, dump, ran};

const PASSWORD: &str = "correct-horse-battery";

#[test]
fn secrets_stay_secret() {
    let place = Place::with_stand_in();
    place.write("a.txt", "a document");
    let cluster = EmbeddedPostgres::start(&place.path().join("cluster")).unwrap();
    // The cluster trusts whoever reaches its socket, so any password will do.
    let url = cluster.url().replacen("semantik@", &format!("semantik:{PASSWORD}@"), 1);
    let with_password = if url.contains(PASSWORD) {
        url
    } else {
        let joint = if url.contains('?') { '&' } else { '?' };
        format!("{url}{joint}password={PASSWORD}")
    };
    let run = |url: &str, file: &str| {
        let mut command = command(&[
            "--log",
            "trace",
            "run",
            "pipeline.yaml",
            "--json",
            "--metrics-file",
            "m.prom",
        ]);
        std::fs::write(place.file(), file).unwrap();
        ran(command.current_dir(place.path()).env("DB", url).output().unwrap())
    };
    place.write_pipeline("model: 'stand-in:16'", "stores: { postgres: '${DB}' }", "size: 64");
    let file = std::fs::read_to_string(place.file()).unwrap();

    let good = run(&with_password, &file);
    assert_eq!(good.code, 0, "{}", good.stderr);
    let mut said = vec![good.stdout, good.stderr];
    said.push(std::fs::read_to_string(place.path().join("m.prom")).unwrap());
    let dump = dump(cluster.url());
    assert!(dump.contains("operations"), "the dump has the tables");
    said.push(dump);

    // A server that is not there, a URL that is none, a file that is wrong.
    for (url, file) in [
        (format!("postgres://me:{PASSWORD}@127.0.0.1:1/x"), file.clone()),
        (format!("mysql://me:{PASSWORD}@127.0.0.1/x"), file.clone()),
        (format!("postgres://me:{PASSWORD}@[broken/x"), file.clone()),
        (with_password, file.replace("uses: hash", "uses: hsah")),
        (String::new(), file.replace("${DB}", &format!("mysql://me:{PASSWORD}@h/x"))),
    ] {
        let bad = run(&url, &file);
        assert_ne!(bad.code, 0);
        said.extend([bad.stdout, bad.stderr]);
    }
    for text in said {
        assert!(!text.contains(PASSWORD), "{text}");
    }
}
