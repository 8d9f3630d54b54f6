//! `health`: what a container's health check hears.

use std::net::TcpListener;

use crate::harness::{Setup, World};

impl World {
    /// A configuration of which nothing but `server.listen` can be read.
    fn listens_at(&self, address: &str) {
        self.file("config.yaml", &format!("server: {{listen: '{address}', shutdown_seconds: soon}}\nstore: nowhere\n"));
    }
}

#[tokio::test]
async fn a_bridge_that_runs_is_alive_and_ready_whatever_else_its_file_says_by_now() {
    let mut world = Setup::default().start().await;
    let port = world.public_url("").rsplit_once(':').unwrap().1.to_owned();
    for host in ["127.0.0.1", "0.0.0.0", "[::]"] {
        world.listens_at(&format!("{host}:{port}"));
        assert_eq!(world.run(&["health"]).await.done(), "alive\n", "{host}");
        assert_eq!(world.run(&["health", "--ready"]).await.done(), "ready\n", "{host}");
    }
    let stop = world.begin_stop();
    let not_ready = world.run(&["health", "--ready"]).await.refused();
    assert!(not_ready.contains(&format!("127.0.0.1:{port} (server.listen) is not ready: stopping")), "{not_ready}");
    assert_eq!(world.run(&["health"]).await.done(), "alive\n", "it finishes what it holds");
    stop.abort();
}

#[tokio::test]
async fn without_a_bridge_that_answers_it_says_what_is_there_and_the_way_out() {
    let world = Setup::default().start().await;
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (address, told, hint) in [
        (gone, "nobody listens at", "start it: campanile serve --config config.yaml"),
        (world.telegram.addr(), "is no campanile: HTTP 404", "set another `server.listen`"),
        (silent.local_addr().unwrap(), "gives no answer: it took longer than 3 s", "its log says"),
    ] {
        world.listens_at(&address.to_string());
        let refused = world.run(&["health"]).await.refused();
        for part in [&format!("{address} (server.listen)"), told, hint] {
            assert!(refused.contains(part), "{part} in {refused}");
        }
    }
    world.file("config.yaml", "server: {listen: here}");
    let refused = world.run(&["health"]).await.refused();
    assert!(refused.contains("`listen` must be an address and a port"), "{refused}");
    assert!(!refused.contains("store"), "nothing else is looked at: {refused}");
}
