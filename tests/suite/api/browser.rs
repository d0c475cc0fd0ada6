//! What browsers need: pages from elsewhere, and a page of our own.

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};

use crate::support::server::Server;

/// What a browser is told when a page from `origin` wants to do this.
async fn told(server: &Server, method: Method, origin: &str) -> HeaderMap {
    let request = reqwest::Client::new().request(method, server.at("/pipelines")).header("origin", origin);
    let request = request.header("access-control-request-method", "DELETE");
    request.send().await.unwrap().headers().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_from_elsewhere_use_the_api_only_where_they_may() {
    let allowed = |headers: &HeaderMap| {
        headers.get("access-control-allow-origin").map(|origin| origin.to_str().unwrap().to_owned())
    };
    let (ours, other) = ("https://console.example", "https://other.example");
    for (origins, of_ours, of_other) in
        [("[]", None, None), (r#"["https://console.example"]"#, Some(ours), None), (r#"["*"]"#, Some("*"), Some("*"))]
    {
        let server = Server::with(&[], &[("CONVEYOR_API__ORIGINS", origins)]);
        for method in [Method::GET, Method::OPTIONS] {
            assert_eq!(allowed(&told(&server, method.clone(), ours).await).as_deref(), of_ours, "{origins} {method}");
            assert_eq!(allowed(&told(&server, method.clone(), other).await).as_deref(), of_other, "{origins} {method}");
        }
        let preflight = told(&server, Method::OPTIONS, ours).await;
        let methods = preflight.get("access-control-allow-methods").map(|methods| methods.to_str().unwrap());
        assert_eq!(methods.is_some_and(|methods| methods.contains("DELETE")), of_ours.is_some(), "{methods:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_has_a_page_that_needs_nothing_from_elsewhere() {
    let server = Server::start();
    for path in ["/swagger", "/swagger/", "/swagger/index.html"] {
        let (status, page) = server.get(path).await;
        let page = page.as_str().unwrap().to_owned();
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(
            page.contains("/swagger/doc.json") && !page.contains("http://") && !page.contains("https://"),
            "{path}"
        );
    }
    assert_eq!(server.get("/swagger/doc.json").await.1["info"]["title"], "Conveyor");
}
