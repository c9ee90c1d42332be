//! An axum service with a table of its own, audited: each order, its record and its event are one transaction.
//!
//! `cargo run --example axum_audit --features postgres -- postgres://localhost/shop 127.0.0.1:8080`, and then
//!
//! ```text
//! curl -X POST localhost:8080/orders -H 'x-user: ada' -H 'content-type: application/json' -d '{"item":"lamp","pieces":2}'
//! curl -X POST localhost:8080/orders/ORDER/cancel -H 'x-user: grace'
//! curl localhost:8080/orders/ORDER/history
//! ```

#![allow(clippy::print_stdout, reason = "it is a program for people to look at")]

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use rekindle::postgres::PostgresBackend;
use rekindle::postgres::PostgresConfig;
use rekindle::{
    Action, Actor, Context, Create, ErrorKind, Log, Rejection, Rekindle, Resource, Session, Timestamp, Unit, Update,
};
use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgPool, PgPoolOptions, PgTransaction};
use tokio::net::TcpListener;
use uuid::Uuid;

#[derive(Clone, Debug, Serialize, Deserialize, Resource)]
#[resource(name = "shop.order", actions(Place, Cancel))]
struct Order {
    #[resource(id)]
    id: Uuid,
    item: String,
    pieces: u32,
    cancelled: bool,
    #[resource(created_at)]
    placed_at: Timestamp,
}

#[derive(Debug, Serialize, Deserialize, Action)]
#[action(create, resource = Order)]
struct Place {
    item: String,
    pieces: u32,
}

impl Create for Place {
    fn create(self, cx: &Context) -> Result<Order, Rejection> {
        if self.pieces == 0 {
            return Err(Rejection::new("an order of nothing"));
        }
        let Self { item, pieces } = self;
        Ok(Order { id: cx.new_uuid(), item, pieces, cancelled: false, placed_at: cx.now() })
    }
}

#[derive(Debug, Serialize, Deserialize, Action)]
#[action(update, resource = Order)]
struct Cancel {}

impl Update for Cancel {
    fn update(self, order: &mut Order, _: &Context) -> Result<(), Rejection> {
        if order.cancelled {
            return Err(Rejection::new("the order is cancelled already"));
        }
        order.cancelled = true;
        Ok(())
    }
}

/// What every request works on.
struct Shop {
    log: Log,
    backend: PostgresBackend,
    /// The service's own connections, for its own table.
    pool: PgPool,
}

type App = Arc<Shop>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("usage: axum_audit URL [ADDRESS]")?;
    let listener = TcpListener::bind(arguments.next().as_deref().unwrap_or("127.0.0.1:8080")).await?;

    PostgresBackend::migrate(&url, &PostgresConfig::new()).await?;
    let backend = PostgresBackend::connect(&url).await?;
    let log = Rekindle::on(backend.clone()).resource::<Order>().start().await?;
    let pool = PgPoolOptions::new().max_connections(5).connect(&url).await?;
    sqlx::query("CREATE TABLE IF NOT EXISTS stock (item text PRIMARY KEY, pieces bigint NOT NULL CHECK (pieces >= 0))")
        .execute(&pool)
        .await?;
    sqlx::query("INSERT INTO stock VALUES ('lamp', 10) ON CONFLICT DO NOTHING").execute(&pool).await?;

    let app = Router::new()
        .route("/orders", post(place))
        .route("/orders/{id}", get(show))
        .route("/orders/{id}/cancel", post(cancel))
        .route("/orders/{id}/history", get(history))
        .route("/stock/{item}", get(stock))
        .with_state(Arc::new(Shop { log, backend, pool }));
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

async fn place(State(shop): State<App>, headers: HeaderMap, Json(input): Json<Place>) -> Answer<Order> {
    let mut transaction = shop.pool.begin().await?;
    take(&mut transaction, &input.item, i64::from(input.pieces)).await?;
    let mut unit = session(&shop, &headers)?.begin()?;
    let order = unit.create(input).await?;
    end(&shop, transaction, unit).await?;
    Ok(Json(order))
}

async fn cancel(State(shop): State<App>, headers: HeaderMap, Path(id): Path<Uuid>) -> Answer<Order> {
    let mut transaction = shop.pool.begin().await?;
    let mut unit = session(&shop, &headers)?.begin()?;
    let order = unit.update(&id, Cancel {}).await?;
    take(&mut transaction, &order.item, -i64::from(order.pieces)).await?;
    end(&shop, transaction, unit).await?;
    Ok(Json(order))
}

/// Takes pieces out of the stock. That there are enough is seen to by the table's CHECK.
async fn take(transaction: &mut PgTransaction<'_>, item: &str, pieces: i64) -> Result<(), Failure> {
    let taken = sqlx::query("UPDATE stock SET pieces = pieces - $2 WHERE item = $1")
        .bind(item)
        .bind(pieces)
        .execute(&mut **transaction)
        .await?;
    if taken.rows_affected() == 0 { Err(Failure(StatusCode::NOT_FOUND, format!("there is no {item}"))) } else { Ok(()) }
}

/// Ends the transaction with the unit's commit in it: the stock, the order and the event, or nothing.
async fn end(shop: &Shop, mut transaction: PgTransaction<'_>, unit: Unit) -> Result<(), Failure> {
    let backend = shop.backend.clone();
    let committed = unit
        .commit_with(|commit| async move {
            let committed = backend.commit_in(&mut transaction, commit).await?;
            // Whether it is committed is not known if the connection is lost here.
            let lost = |error| {
                rekindle::Error::new(ErrorKind::Indeterminate, "the commit was not answered").with_source(error)
            };
            transaction.commit().await.map_err(lost)?;
            Ok(committed)
        })
        .await?;
    if let Some(event) = committed.events.last() {
        shop.backend.announce(shop.log.id(), event.position);
    }
    Ok(())
}

async fn show(State(shop): State<App>, Path(id): Path<Uuid>) -> Answer<Order> {
    let order = shop.log.get::<Order>(&id).await?;
    order.map(Json).ok_or_else(|| Failure(StatusCode::NOT_FOUND, "there is no such order".to_owned()))
}

/// What happened to an order, and who did it.
async fn history(State(shop): State<App>, Path(id): Path<Uuid>) -> Answer<Vec<String>> {
    let history = shop.log.history::<Order>(&id).await?;
    let line = |revised: rekindle::Revised<Order>| {
        let actor = revised.event.actor.as_ref().map_or_else(|| "somebody".to_owned(), ToString::to_string);
        format!("{actor}: {}", revised.event.action)
    };
    Ok(Json(history.into_iter().map(line).collect()))
}

async fn stock(State(shop): State<App>, Path(item): Path<String>) -> Answer<i64> {
    let pieces = sqlx::query_scalar("SELECT pieces FROM stock WHERE item = $1").bind(item);
    Ok(Json(pieces.fetch_one(&shop.pool).await?))
}

/// In the name of whoever sent the request. A real service asks its authentication.
fn session(shop: &Shop, headers: &HeaderMap) -> Result<Session, Failure> {
    let user = headers.get("x-user").and_then(|user| user.to_str().ok());
    let user = user.ok_or_else(|| Failure(StatusCode::UNAUTHORIZED, "who are you?".to_owned()))?;
    Ok(shop.log.as_actor(Actor::new("user", user)?))
}

type Answer<T> = Result<Json<T>, Failure>;

/// An answer that is none: its status, and why.
struct Failure(StatusCode, String);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, self.1).into_response()
    }
}

impl From<rekindle::Error> for Failure {
    fn from(error: rekindle::Error) -> Self {
        let status = match error.kind() {
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Conflict { .. } | ErrorKind::AlreadyExists { .. } => StatusCode::CONFLICT,
            ErrorKind::Rejected | ErrorKind::Invalid | ErrorKind::TooLarge => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorKind::Unavailable | ErrorKind::Rebuilding => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(status, error.to_string())
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        let enough = error.as_database_error().is_none_or(|error| !error.is_check_violation());
        if enough {
            Self(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        } else {
            Self(StatusCode::CONFLICT, "there are not so many pieces".to_owned())
        }
    }
}
