// The native uWebSockets peer: the smallest publish/subscribe server that uWebSockets makes.
//
// J<topic> joins and is answered @join, L<topic> leaves, P<topic>\n<payload> publishes. Pings and compression are off,
// and its back-pressure bound is too far away to drop anything.
//
// What is published in one loop turn is kept until the turn's end and then given to uWebSockets' topic tree, which
// sends each subscriber up to 32 messages in one write. Given to it from within the message handler, where the
// publisher's socket is corked, everything past the 32nd message would leave in a write of its own: 7 times dearer
// with 64 in flight.

#include "App.h"

#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

struct PerSocket {};

struct Publication {
    std::string topic;
    std::string text;
};

int main(int count, char **arguments) {
    if (count != 3) {
        std::cerr << "usage: uwebsockets HOST PORT" << std::endl;
        return 2;
    }
    const std::string host = arguments[1];
    const int port = std::atoi(arguments[2]);

    uWS::App app;
    // Strings are used again, turn after turn.
    std::vector<Publication> turn;
    size_t published = 0;
    uWS::Loop::get()->addPostHandler(&turn, [&app, &turn, &published](uWS::Loop *) {
        for (size_t place = 0; place < published; place++) {
            app.publish(turn[place].topic, turn[place].text, uWS::OpCode::TEXT);
        }
        published = 0;
    });
    app.ws<PerSocket>("/ws", {
        .compression = uWS::DISABLED,
        .maxPayloadLength = 16 * 1024 * 1024,
        .idleTimeout = 0,
        .maxBackpressure = 512 * 1024 * 1024,
        .sendPingsAutomatically = false,
        .message = [&turn, &published](auto *ws, std::string_view message, uWS::OpCode) {
            if (message.empty()) {
                return;
            }
            const std::string_view rest = message.substr(1);
            switch (message[0]) {
            case 'J':
                ws->subscribe(rest);
                ws->send("@join", uWS::OpCode::TEXT);
                break;
            case 'L':
                ws->unsubscribe(rest);
                ws->send("@leave", uWS::OpCode::TEXT);
                break;
            case 'P': {
                const size_t end = rest.find('\n');
                if (end == std::string_view::npos) {
                    return;
                }
                if (published == turn.size()) {
                    turn.emplace_back();
                }
                Publication &publication = turn[published++];
                publication.topic.assign(rest.substr(0, end));
                publication.text.assign("{\"topic\":\"").append(publication.topic);
                publication.text.append("\",\"payload\":\"").append(rest.substr(end + 1)).append("\"}");
                break;
            }
            default:
                break;
            }
        },
    }).listen(host, port, [](auto *socket) {
        if (!socket) {
            std::cerr << "cannot listen" << std::endl;
            std::exit(1);
        }
        std::cout << "ready" << std::endl;
    }).run();
    return 0;
}
