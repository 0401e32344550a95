// A new generation while the worker serves: which resources it releases, which connections it
// closes, and messages about cells that have a new owner.
#include "scenario.hpp"

namespace s3gate::sim {
namespace {

void without_b(config::Site& site) {
    site.backends.servers.erase(site.backends.servers.begin() + 1);
}

TEST(Generations, OneWithoutARequestIsLetGoOfAtOnce) {
    Stage stage(2);
    const auto old = stage.generation();
    expect_from(stage.ask(request("GET")), 'a');
    stage.reconfigure(without_b);
    EXPECT_TRUE(old.expired());
}

TEST(Generations, OneIsKeptUntilItsLastRequestIsOver) {
    Stage stage(2);
    stage.node('a').usual = silence();
    const auto old = stage.generation();
    ClientPeer& first = stage.ask(request("GET"));
    ClientPeer& second = stage.ask(request("GET"));
    stage.reconfigure(without_b);
    stage.say(stage.visit('a', 0), answer(200, "from a"));
    expect_from(first, 'a');
    EXPECT_FALSE(old.expired()) << "the other request began with it";
    stage.say(stage.visit('a', 1), answer(200, "from a"));
    expect_from(second, 'a');
    EXPECT_TRUE(old.expired());
}

TEST(Generations, ParkedConnectionsToABackendThatLeftAreClosed) {
    Stage stage(2);
    stage.node('a').door = Node::Door::refuse;
    expect_from(stage.ask(request("GET")), 'b');
    EXPECT_FALSE(stage.visit('b').is_closed());
    stage.reconfigure([](config::Site& site) { site.backends.idle_timeout = seconds{60}; });
    EXPECT_FALSE(stage.visit('b').is_closed()) << "it is one of the new generation's too";
    stage.reconfigure(without_b);
    EXPECT_TRUE(stage.visit('b').is_closed());
}

// The last request of the old generation parks its connection after the parked ones were dropped.
// The cell may soon belong to another backend.
TEST(Generations, AConnectionParkedLateIsClosedWithItsGeneration) {
    Stage stage(2);
    stage.node('a').door = Node::Door::refuse;
    stage.node('b').usual = silence();
    ClientPeer& client = stage.ask(request("GET"));
    stage.reconfigure(without_b);
    EXPECT_FALSE(stage.visit('b').is_closed());
    stage.say(stage.visit('b'), answer(200, "from b"));
    expect_from(client, 'b');
    EXPECT_TRUE(stage.visit('b').is_closed());
}

TEST(Generations, ABackendOfAnEarlierEpochIsNotTakenDown) {
    Stage stage(2);
    stage.node('a').usual = silence();
    ClientPeer& client = stage.ask(request("GET"));
    const state::CellId present = stage.backend('a');
    stage.worker().take_down({present.index, present.epoch + 1});
    stage.settle();
    EXPECT_EQ(stage.visits('b'), 0u);
    EXPECT_FALSE(stage.visit('a').is_closed());
    stage.worker().take_down(present);
    stage.settle();
    expect_from(client, 'b');
}

class StaleRoom : public ::testing::Test {
  protected:
    StaleRoom() : stage(1, [](config::Site& site) { site.backends.max_connections = 1; }) {
        stage.node('a').usual = silence();
        first = &stage.ask(request("GET"));
        second = &stage.ask(request("GET"));
    }

    void end() {
        stage.say(stage.visit('a'), answer(200, "from a"));
        expect_from(*first, 'a');
        stage.say(stage.visit('a'), answer(200, "from a"));
        expect_from(*second, 'a');
    }

    Stage stage;
    ClientPeer* first = nullptr;
    ClientPeer* second = nullptr;  // waits for room
};

TEST_F(StaleRoom, OfAnEarlierEpochIsNobodys) {
    const state::CellId room = stage.room('a');
    stage.worker().receive_room(stage.group(), {room.index, room.epoch + 1});
    stage.settle();
    EXPECT_EQ(stage.node('a').asked, 1u);
    EXPECT_EQ(stage.worker().held_room(room), 1);
    end();
}

TEST_F(StaleRoom, ForAGroupThatIsGoneIsGivenBack) {
    const state::CellId room = stage.room('a');
    const state::CellId group = stage.group();
    stage.worker().hold_room(room);
    stage.worker().receive_room({group.index, group.epoch + 1}, room);
    stage.settle();
    EXPECT_EQ(stage.node('a').asked, 1u) << "who waits is of another group";
    EXPECT_EQ(stage.worker().held_room(room), 1);
    end();
}

TEST_F(StaleRoom, ThatIsNotIsTaken) {
    stage.worker().hold_room(stage.room('a'));
    stage.worker().receive_room(stage.group(), stage.room('a'));
    stage.settle();
    EXPECT_EQ(stage.node('a').asked, 2u);
    EXPECT_EQ(stage.worker().held_room(stage.room('a')), 2);
    stage.say(stage.visit('a', 0), answer(200, "from a"));
    stage.say(stage.visit('a', 1), answer(200, "from a"));
    expect_from(*first, 'a');
    expect_from(*second, 'a');
}

}  // namespace
}  // namespace s3gate::sim
