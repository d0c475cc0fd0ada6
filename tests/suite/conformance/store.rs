//! What every store must do. A backend joins with a function that opens it and a line `backend!`.

mod differential;
#[cfg(feature = "etcd")]
mod etcd_server;
mod listing;
mod model;
mod sqlite_file;
mod transactions;
mod watches;

use std::any::Any;
use std::sync::Arc;

use conveyor::config;
#[cfg(feature = "etcd")]
use conveyor::store::EtcdStore;
use conveyor::store::{MemoryStore, Revision, SharedStore, SqliteStore, Write};

#[cfg(feature = "etcd")]
use crate::support::etcd::EtcdServer;

/// An open store and what must outlive it.
struct Backend {
    store: SharedStore,
    _kept: Option<Box<dyn Any + Send>>,
}

impl Backend {
    /// Puts what a case needs to begin with.
    async fn put(&self, keys: &[&str]) -> Revision {
        self.store.transact(keys.iter().map(|key| Write::put(*key, key.to_string())).collect()).await.unwrap()
    }
}

/// Small bounds, so that the cases meet them.
fn limits() -> config::Store {
    config::Store { transaction_bytes: 64 << 10, transaction_writes: 64, ..config::Store::default() }
}

async fn memory(limits: config::Store) -> Backend {
    Backend { store: Arc::new(MemoryStore::new(&limits)), _kept: None }
}

async fn sqlite(limits: config::Store) -> Backend {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(folder.path(), &limits).unwrap());
    Backend { store, _kept: Some(Box::new(folder)) }
}

#[cfg(feature = "etcd")]
async fn etcd(limits: config::Store) -> Backend {
    let server = EtcdServer::start();
    let store = EtcdStore::connect(&server.url(), &limits, &config::Cluster::default()).await.unwrap();
    Backend { store: Arc::new(store), _kept: Some(Box::new(server)) }
}

macro_rules! backend {
    ($open:ident) => {
        backend! { $open:
            transactions::reads_see_what_was_written, transactions::a_precondition_guards_its_write,
            transactions::a_conflict_writes_nothing, transactions::no_increment_is_lost,
            transactions::a_transaction_over_a_bound_is_refused, transactions::a_check_leaves_no_entry,
            listing::a_prefix_is_not_a_folder, listing::pages_join_without_gap, listing::a_limit_of_zero_is_one,
            listing::a_cursor_needs_no_entry, model::any_history_agrees_with_a_map,
            watches::the_start_tells_all_entries, watches::a_watch_resumes_behind_a_revision,
            watches::a_watch_that_slept_is_told_what_it_asked_for, watches::large_transactions_are_told_whole,
            watches::a_page_and_a_watch_miss_nothing, watches::a_watch_ends_with_its_store
        }
    };
    ($open:ident: $($module:ident::$case:ident),*) => {
        mod $open {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$module::$case(super::$open(super::limits()).await).await;
            })*
        }
    };
}

backend!(memory);
backend!(sqlite);
#[cfg(feature = "etcd")]
backend!(etcd);
