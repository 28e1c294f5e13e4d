//! Goal: what is generated in the documents is what the code says.
//! Method: compare the text between markers; `ROADCAST_UPDATE_DOCS=1 cargo test --test documentation` writes it anew.

use std::path::Path;

use roadcast::config::schema;

#[test]
fn the_documentation_holds_the_table_of_keys() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let mut document = std::fs::read_to_string(&path).unwrap();
    let update = std::env::var_os("ROADCAST_UPDATE_DOCS").is_some();
    for (name, table) in [("keys", schema::markdown()), ("unused", schema::markdown_unused())] {
        let (begin, end) = (format!("<!-- {name}: generated -->\n"), format!("<!-- {name}: end -->"));
        let from = document.find(&begin).expect("the marker where the table begins") + begin.len();
        let to = document.find(&end).expect("the marker where the table ends");
        if update {
            document.replace_range(from..to, &table);
        }
        let fresh = document.get(from..to) == Some(&*table);
        assert!(
            update || fresh,
            "docs/configuration.md is stale; ROADCAST_UPDATE_DOCS=1 cargo test --test documentation"
        );
    }
    if update {
        std::fs::write(&path, document).unwrap();
    }
}
