//! The worker of docs/access.md does what stands there.

use std::path::Path;

use roadcast::access::{About, AccessRequest, Judged, context};
use roadcast::desk::access::workers::{Pool, WorkerSettings};

use crate::bed::*;

async fn asked(pool: &Pool, about: About<'_>, cookie: &str) -> Judged {
    let head = format!("GET /ws HTTP/1.1\r\nHost: host\r\nCookie: {cookie}\r\n\r\n");
    let request = AccessRequest { head: head.into_bytes().into(), client: None };
    let judged = pool.ask(context::encode(&request, about, None)).await;
    judged.unwrap_or_else(|failed| panic!("{about:?}: {failed:?}"))
}

#[test]
fn the_example_without_a_package_lets_in_whoever_has_a_session_and_keeps_secrets() {
    with_php(async |_| {
        let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/access.md");
        let text = std::fs::read_to_string(document).unwrap();
        let mut blocks = text.split("\n```php\n").skip(1);
        let block = blocks.find(|block| block.contains("// worker.php")).unwrap();
        let file = free_path("example.php");
        std::fs::write(&file, block.split("\n```").next().unwrap()).unwrap();
        let command = vec!["php".to_owned(), file.display().to_string()];
        let pool = Pool::start(WorkerSettings { command, ..settings() });

        let judged = asked(&pool, About::Server, "session=7").await;
        let user = judged.identity().unwrap().user;
        assert_eq!((judged.status, user.as_deref()), (200, Some("7")));
        let refused = asked(&pool, About::Server, "other=7").await;
        assert_eq!((refused.status, &refused.body[..]), (401, &b"Log in first."[..]));
        assert!(refused.headers.contains(&("WWW-Authenticate".into(), "Session".into())));
        for (topics, status) in [(&["news", "sports"], 200), (&["news", "secret.7"], 403)] {
            assert_eq!(asked(&pool, About::Topics(topics), "session=7").await.status, status);
        }
        pool.stop(std::time::Duration::from_secs(20)).await;
        std::fs::remove_file(file).unwrap();
    });
}
